"""``recipes/slurm/run.sbatch`` with stand-ins for SLURM's commands: what it starts, and what it does when it is told to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes/slurm/run.sbatch"
SRUN = """#!/bin/bash
echo "$@" > {directory}/srun.args
trap 'sleep 0.3; exit {stopped}' TERM
touch {directory}/running
if [ -e {directory}/wait ]; then while :; do sleep 0.05; done; fi
exit {code}
"""
# Read by bash before the script: the signal comes when srun runs and the script does not know its process yet.
EARLY = """
at_step() {{
    if [ "$BASH_COMMAND" = 'step=$!' ]; then
        while [ ! -e {directory}/running ]; do sleep 0.01; done
        kill -{number} $$
    fi
}}
trap at_step DEBUG
"""
SCONTROL = '#!/bin/bash\necho "$@" > {directory}/scontrol.args\n'


def begin(directory: Path, *words: str, code: int = 0, stopped: int = 143, **environment: str) -> subprocess.Popen[str]:
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        file = directory / name
        file.write_text(text.format(directory=directory, code=code, stopped=stopped))
        file.chmod(0o755)
    env = {
        **os.environ, "PATH": f"{directory}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_NTASKS_PER_NODE": "8",
        "SLURM_JOB_NUM_NODES": "2", **environment,
    }  # fmt: skip
    return subprocess.Popen(
        ["bash", str(SCRIPT), *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_bash_can_read_it_and_slurm_gets_what_going_on_needs() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0
    text = SCRIPT.read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert options["signal"].startswith("B:USR1@"), "to this shell, which passes it on"
    assert "requeue" in options
    assert options["open-mode"] == "append"
    first_command = text.index("\nset -u")
    assert all(match.start() < first_command for match in re.finditer("^#SBATCH", text, re.MULTILINE)), "else ignored"


def test_the_recipe_gets_the_jobs_nodes_and_tasks(tmp_path: Path) -> None:
    out, err = (job := begin(tmp_path, "recipe.yaml", "seed=1")).communicate(timeout=30)
    assert (job.returncode, out, err) == (0, "", "")
    said = (tmp_path / "srun.args").read_text().split()
    assert said == [
        "--kill-on-bad-exit=1", "crossagent", "run", "recipe.yaml", "seed=1", "trainer.devices=8", "trainer.num_nodes=2",
    ]  # fmt: skip
    assert not (tmp_path / "scontrol.args").exists()


def test_without_a_recipe_it_says_how(tmp_path: Path) -> None:
    _, err = (job := begin(tmp_path)).communicate(timeout=30)
    assert job.returncode == 2
    assert err.startswith("usage: sbatch")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize(("stopped", "again"), [(143, True), (137, True), (0, False), (2, False)])
def test_told_to_stop_it_waits_for_the_resume_point_and_queues_again(
    tmp_path: Path, number: int, stopped: int, again: bool
) -> None:
    (tmp_path / "wait").touch()
    job = begin(tmp_path, "recipe.yaml", stopped=stopped)
    while not (tmp_path / "running").exists():
        time.sleep(0.01)
    job.send_signal(number)
    job.communicate(timeout=30)
    assert job.returncode == stopped, "of the step, not of the signal"
    assert (tmp_path / "scontrol.args").exists() == again
    if again:
        assert (tmp_path / "scontrol.args").read_text() == "requeue 77\n"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_that_comes_before_the_step_is_known_still_reaches_it(tmp_path: Path, number: int) -> None:
    (tmp_path / "wait").touch()
    early = tmp_path / "early.sh"
    early.write_text(EARLY.format(directory=tmp_path, number=int(number)))
    job = begin(tmp_path, "recipe.yaml", BASH_ENV=str(early))
    _, err = job.communicate(timeout=30)
    assert (job.returncode, err) == (143, "")
    assert (tmp_path / "scontrol.args").read_text() == "requeue 77\n"


@pytest.mark.parametrize("code", [1, 2, 143])
def test_what_fails_or_is_cancelled_is_not_queued_again(tmp_path: Path, code: int) -> None:
    job = begin(tmp_path, "recipe.yaml", code=code)
    job.communicate(timeout=30)
    assert job.returncode == code
    assert not (tmp_path / "scontrol.args").exists()
