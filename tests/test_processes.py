"""One recipe over several processes, as a user meets it: the same run, one message, and going on after anything."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from crossagent.launch import LAUNCHER
from crossagent.rollout.store import load_trajectories, step_file
from crossagent.training.callbacks import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]
ROOT = Path(__file__).parents[1]
BASE = """
environment: {name: toy}
spaces: {api: {weight: 0.02}, control: {weight: 0.02}}
stages: [sft]
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
rollout: {workers: 1, worlds_per_worker: 8}
demonstrations: {episodes: 150}
sft: {epochs: 10, batch_size: 64, lr: 0.004}
evaluation: {episodes: 2, single_spaces_after: [], experts: false}
tracking: {mlflow: false, plots: false, report: false}
"""
PLAY = """
defaults: [base.yaml]
stages: [mtrl]
policy: {model: runs/base/sft/checkpoint}
mtrl: {iterations: 4, groups: 4, group_size: 4, filter_zero_variance: false, drop_all_fail: false, checkpoint_every: 2,
  kl_coef: 0.01, minibatches: 2, resample_rounds: 0, loss: "deadly:clip"}
trainer: {devices: 2}
"""
DEADLY = '''
"""The clipped loss, in which a process does what ``plan.txt`` says: (what, rank, at the how manieth call)."""
import os, pathlib, signal, psutil
from crossagent.algorithms import LOSSES
from crossagent.errors import RecipeError
calls = 0
def clip(ratio, advantages, **options):
    global calls
    calls += 1
    plan = pathlib.Path("plan.txt")
    what, rank, call = plan.read_text().split() if plan.exists() else ("", "-1", "-1")
    if os.environ.get("RANK", "0") == rank and calls == int(call):
        plan.unlink()
        if what == "worker":
            for worker in psutil.Process().children():
                worker.kill()
        elif what == "wrong":
            raise RecipeError("deadly: fix me")
        elif what == "bug":
            raise ZeroDivisionError("a bug of ours")
        else:
            victim = os.getpid() if what == "SIGKILL" else os.getppid()
            os.kill(victim, getattr(signal, what))
    return LOSSES["clip"](ratio, advantages, **options)
'''


@dataclass
class Place:
    """A directory to run recipes in."""

    directory: Path
    path: str

    def command(self, words: Sequence[str | Path], **env: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
        here = {"PYTHONPATH": self.path, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, *map(str, words)]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.directory, env={**inherited, **here, **env}, **pipe)  # type: ignore[call-overload, no-any-return]

    def run(self, name: str, *words: str, plan: str = "", recipe: str = "play.yaml") -> tuple[int, str, str]:
        """Run a recipe under a name; return exit code, standard output and error. Nothing of it must be left running."""
        if plan:
            (self.directory / "plan.txt").write_text(plan)
        process = self.command(["-m", "crossagent", "run", recipe, "--quiet", f"run_name={name}", *words])
        out, err = process.communicate(timeout=240)
        assert not (self.directory / "plan.txt").exists(), "what was planned has happened"
        deadline = time.monotonic() + 10
        while left := _left(process.pid):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        return process.returncode, out, err

    def of(self, name: str) -> Path:
        return self.directory / "runs" / name

    def bits(self, name: str) -> dict[str, Any]:
        """Everything of a run that must not depend on how often it was stopped."""
        run = self.of(name)
        checkpoint = run / "mtrl/checkpoint/model.safetensors"
        summary = json.loads((run / "summary.json").read_text())["stages"]
        stored = run / "mtrl/trajectories"
        return {
            "weights": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
            "metrics": [_timeless(row) for row in read_metrics(run / "mtrl/metrics.jsonl")],
            "trajectories": [load_trajectories(step_file(stored, step)) for step in range(1, 5)],
            "evaluation": [{**stage, "seconds": None} for stage in summary],
        }


def _timeless(row: dict[str, float]) -> dict[str, float]:
    clocked = ("time/", "rollout/tokens_per_second", "rollout/episodes_per_second", "workers/")
    return {name: value for name, value in row.items() if not name.startswith(clocked)}


def _left(launcher: int) -> list[str]:
    """Return the processes, workers too, that the launcher's processes have left behind."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(LAUNCHER) == str(launcher) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.cmdline()[:3]}")
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, toy_plugin: Path) -> Place:
    directory = tmp_path_factory.mktemp("processes")
    for name, text in (("base.yaml", BASE), ("play.yaml", PLAY), ("deadly.py", DEADLY)):
        (directory / name).write_text(text)
    sources = [directory, toy_plugin, ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]
    place = Place(directory, os.pathsep.join(map(str, sources)))
    code, out, err = place.run("base", recipe="base.yaml")
    assert code == 0, out + err
    return place


@pytest.fixture(scope="module")
def unbroken(place: Place) -> dict[str, Any]:
    """A run over two processes that nothing befell."""
    code, out, err = place.run("unbroken")
    assert (code, err) == (0, ""), err
    assert out.count("mtrl") == 2, "one table: a row per suite"
    return place.bits("unbroken")


def test_two_processes_play_what_one_plays_and_learn_what_one_learns(place: Place, unbroken: dict[str, Any]) -> None:
    code, _, err = place.run("alone", "trainer.devices=1")
    assert (code, err) == (0, "")
    alone = place.bits("alone")
    one, two = alone["trajectories"][0], unbroken["trajectories"][0]
    assert len({len(t.turns) for t in one}) > 1, "episodes end at different times"
    for ours, theirs in zip(one, two, strict=True):
        for turn, other in zip(ours.turns, theirs.turns, strict=True):
            # A batch of other rows may round the last bits of the sampler's log-probs; training takes its own.
            assert turn.sampler_logprobs == pytest.approx(other.sampler_logprobs, abs=1e-5)
            assert turn.space_logprobs == pytest.approx(other.space_logprobs, abs=1e-5)
        assert _without_logprobs(ours) == _without_logprobs(theirs)
    assert len(alone["metrics"]) == len(unbroken["metrics"]) == 4
    for row, other_row in zip(alone["metrics"], unbroken["metrics"], strict=True):
        assert row.keys() == other_row.keys()
        for name in ("train/loss", "train/grad_norm", "train/kl", "train/entropy", "rollout/return", "train/tokens"):
            assert other_row[name] == pytest.approx(row[name], rel=1e-5, abs=1e-5), name


def _without_logprobs(trajectory: Any) -> Any:
    return replace(
        trajectory,
        turns=tuple(
            replace(t, sampler_logprobs=(0.0,) * len(t.response_ids), space_logprobs=()) for t in trajectory.turns
        ),
    )


def test_a_rank_that_is_killed_within_a_step_stops_all_and_the_run_goes_on_bit_by_bit(
    place: Place, unbroken: dict[str, Any]
) -> None:
    begun = time.monotonic()
    code, out, err = place.run("killed", plan="SIGKILL 1 6")
    assert time.monotonic() - begun < 120, "60 s after the kill, and the start"
    assert code == 137
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert "process 1 of 2" in err
    assert "was killed by SIGKILL, so all were stopped" in err
    code, _, err = place.run("killed", plan="SIGKILL 0 3")  # rank 0 too, in the third iteration
    assert code == 137
    assert "process 0 of 2" in err
    code, _, err = place.run("killed")
    assert (code, err) == (0, "")
    assert place.bits("killed") == unbroken


def test_sigterm_and_ctrl_c_mean_what_they_mean_to_one_process(place: Place, unbroken: dict[str, Any]) -> None:
    code, out, err = place.run("stopped", plan="SIGTERM 1 3")
    assert (code, out) == (143, "")
    assert err == "crossagent: stage 'mtrl' was stopped by SIGTERM after step 2; the same command goes on from there\n"
    code, out, err = place.run("stopped", plan="SIGINT 0 3")
    assert (code, out) == (130, "")
    assert err == "\ncrossagent: interrupted; the same command goes on with the stage that was interrupted\n"
    code, _, err = place.run("stopped")
    assert (code, err) == (0, "")
    assert place.bits("stopped") == unbroken


def test_a_stopped_run_goes_on_over_another_number_of_processes(place: Place, unbroken: dict[str, Any]) -> None:
    assert place.run("moved", plan="SIGTERM 1 3")[0] == 143
    code, _, err = place.run("moved", "trainer.devices=1")
    assert (code, err) == (0, "")
    for row, other in zip(place.bits("moved")["metrics"], unbroken["metrics"], strict=True):
        assert row["train/loss"] == pytest.approx(other["train/loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("plan", "code", "said"),
    [("wrong 1 3", 2, "crossagent: deadly: fix me\n"), ("bug 0 3", 1, "ZeroDivisionError: a bug of ours\n")],
)
def test_an_error_of_one_process_is_said_once_and_stops_all(place: Place, plan: str, code: int, said: str) -> None:
    name = plan.split()[0]
    got, out, err = place.run(name, plan=plan)
    assert (got, out) == (code, "")
    assert err.endswith(said)
    assert err.count("Traceback") == (code == 1)
    assert code == 1 or err == said


def test_workers_of_a_rank_that_die_cost_nothing(place: Place, unbroken: dict[str, Any]) -> None:
    code, _, err = place.run("workers", plan="worker 1 3")
    assert code == 0
    assert err.count("warning: process 1: ") == 1
    assert "it is replaced" in err
    bits = place.bits("workers")
    assert (bits["weights"], bits["trajectories"]) == (unbroken["weights"], unbroken["trajectories"])


def test_what_is_the_users_to_fix_is_said_once_before_anything_begins(place: Place) -> None:
    code, out, err = place.run("refused", "spaces.api.weight=-1")
    assert (code, out) == (2, "")
    assert err.count("spaces.api.weight: got -1") == len(err.splitlines()) == 1
    code, out, err = place.run("refused", "policy.model=./nothing")  # found by the processes themselves
    assert (code, out) == (2, "")
    assert err.count("policy.model: no directory './nothing'") == len(err.splitlines()) == 1
    assert not place.of("refused").exists(), "what could not begin leaves nothing behind"


# -- other launchers --------------------------------------------------------------------------------------------------
def torchrun(place: Place, words: list[str]) -> list[subprocess.Popen[str]]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "crossagent"]
    return [place.command([*launcher, *words])]


def fabric(place: Place, words: list[str]) -> list[subprocess.Popen[str]]:
    script = place.directory / "crossagent-script"  # what pip writes to bin/
    script.write_text("import sys\nfrom crossagent.cli import main\nsys.exit(main())\n")
    command = [Path(sys.executable).parent / "fabric", "run", "--accelerator", "cpu", "--devices", "2", script]
    return [place.command([*command, *words])]


def srun(place: Place, words: list[str]) -> list[subprocess.Popen[str]]:
    """What srun does as far as a task can see: the same command twice, and SLURM's variables."""
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": str(time.monotonic_ns() % 1000), "SLURM_NTASKS": "2",
           "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2",
           "SLURM_NODEID": "0", "SLURM_JOB_NAME": "train"}  # fmt: skip
    return [
        place.command(["-m", "crossagent", *words], **job, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank))
        for rank in range(2)
    ]


Launcher = Callable[[Place, list[str]], list[subprocess.Popen[str]]]


def finish(processes: list[subprocess.Popen[str]]) -> tuple[list[int], str, str]:
    said = [process.communicate(timeout=240) for process in processes]
    return [p.returncode for p in processes], "".join(out for out, _ in said), "".join(err for _, err in said)


@pytest.mark.parametrize("launcher", [torchrun, fabric, srun])
def test_other_launchers_leave_the_same_run(place: Place, unbroken: dict[str, Any], launcher: Launcher) -> None:
    name = launcher.__name__
    codes, out, err = finish(launcher(place, ["run", "play.yaml", "--quiet", f"run_name={name}"]))
    assert set(codes) == {0}, err
    assert out.count("mtrl") == 2, "one table"
    assert place.bits(name) == unbroken


@pytest.mark.parametrize("launcher", [torchrun, srun])
def test_other_launchers_hear_of_an_error_once(place: Place, launcher: Launcher) -> None:
    for words, said in (
        (["spaces.api.weight=-1"], "spaces.api.weight: got -1"),
        (["trainer.devices=1"], "the recipe is for 1 processes (devices: 1, num_nodes: 1), but the launcher started 2"),
        (["policy.model=./nothing"], "policy.model: no directory './nothing'"),
    ):
        codes, out, err = finish(launcher(place, ["run", "play.yaml", "--quiet", "run_name=refused", *words]))
        assert 0 not in codes
        assert out == ""
        assert err.count(said) == 1, err
        assert launcher is torchrun or err.count("\n") == 1, err
    assert not place.of("refused").exists()


@pytest.mark.parametrize("launcher", [torchrun, srun])
def test_other_launchers_stop_all_when_one_process_is_killed(
    place: Place, unbroken: dict[str, Any], launcher: Launcher
) -> None:
    (place.directory / "plan.txt").write_text("SIGKILL 1 6")
    words = ["run", "play.yaml", "--quiet", f"run_name=killed-{launcher.__name__}"]
    codes, _, err = finish(launcher(place, words))
    assert 0 not in codes
    assert launcher is torchrun or err.count("another process of this run is gone") == 1, err
    assert err.count("crossagent: ") <= 1
    assert set(finish(launcher(place, words))[0]) == {0}
    assert place.bits(f"killed-{launcher.__name__}") == unbroken
