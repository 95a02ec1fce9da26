"""Under torchrun and ``fabric run`` a recipe is run once: by rank 0, as if nobody had launched it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from crossagent.cli import main
from crossagent.errors import CrossAgentError
from crossagent.launch import leave_launcher

Run = Callable[..., CompletedProcess[str]]
RECIPE = """
environment: {name: toy}
spaces: {api: {weight: 0.02}, control: {weight: 0.02}}
stages: [sft, mtrl]
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
rollout: {workers: 1, worlds_per_worker: 4}
demonstrations: {episodes: 24}
sft: {epochs: 1, batch_size: 32}
mtrl: {iterations: 1, groups: 2, group_size: 2, filter_zero_variance: false, drop_all_fail: false}
evaluation: {episodes: 2}
tracking: {mlflow: false, plots: false}
"""
TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "none"}
FABRIC = {**TORCHRUN, "LT_DEVICES": "2", "LT_CLI_USED": "1"}


@pytest.mark.parametrize("launcher", [TORCHRUN, FABRIC])
def test_the_launchers_variables_are_read_and_removed(launcher: dict[str, str]) -> None:
    environ = {**launcher, "HOME": "/home/me", "RANKING": "kept"}
    assert leave_launcher(environ) == (1, 2)
    assert environ == {"HOME": "/home/me", "RANKING": "kept"}


def test_without_a_launcher_nothing_changes() -> None:
    environ = {"MASTER_PORT": "29500", "WORLD_SIZE": "2"}
    assert leave_launcher(environ) == (0, 1)
    assert environ == {"MASTER_PORT": "29500", "WORLD_SIZE": "2"}


def test_strange_numbers_are_named() -> None:
    with pytest.raises(CrossAgentError, match=r"got RANK='first', WORLD_SIZE='2'; .* Fix: unset both"):
        leave_launcher({"RANK": "first", "WORLD_SIZE": "2"})


@pytest.mark.parametrize("rank", ["0", "1"])
def test_only_rank_0_says_and_does_anything(
    rank: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**TORCHRUN, "RANK": rank}.items():
        monkeypatch.setenv(name, value)
    code = main(["run", "missing.yaml"])
    said = capsys.readouterr()
    if rank == "0":
        assert code == 2
        assert "a launcher started 2 processes; this version trains in one" in said.err
        assert "missing.yaml: no such recipe" in said.err
    else:
        assert (code, said.out, said.err) == (0, "", "")


def contents(run: Path) -> dict[str, str]:
    """Hash of every file of a run that must not depend on the clock, and the summary without its seconds."""
    files = [*run.glob("*/checkpoint/model.safetensors"), run / "demonstrations.parquet"]
    found = {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}
    stages = json.loads((run / "summary.json").read_text())["stages"]
    return {**found, "summary": json.dumps([{**stage, "seconds": None} for stage in stages])}


@pytest.mark.slow
def test_two_processes_of_torchrun_and_of_fabric_leave_one_ordinary_run(python: Run, tmp_path: Path) -> None:
    for name in ("alone", "torchrun", "fabric"):
        (tmp_path / f"{name}.yaml").write_text(RECIPE)
    script = tmp_path / "crossagent"  # what pip writes to bin/
    script.write_text("import sys\nfrom crossagent.cli import main\nsys.exit(main())\n")
    alone = python("-m", "crossagent", "run", "alone.yaml")
    torchrun = python(
        "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "crossagent", "run", "torchrun.yaml"
    )
    fabric = Path(sys.executable).parent / "fabric"
    by_fabric = python(fabric, "run", "--accelerator", "cpu", "--devices", "2", script, "run", "fabric.yaml")
    for result, notices in ((alone, 0), (torchrun, 1), (by_fabric, 1)):
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stderr.count("a launcher started 2 processes") == notices
        assert result.stdout.count("after") == alone.stdout.count("after"), "one table"
    expected = contents(tmp_path / "runs/alone")
    assert len(expected) == 5
    assert contents(tmp_path / "runs/torchrun") == expected
    assert contents(tmp_path / "runs/fabric") == expected


@pytest.mark.slow
def test_an_error_is_said_once_and_fails_the_launcher(python: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    words = ("--nproc-per-node", "2", "-m", "crossagent", "run", "tiny.yaml", "spaces.api.weight=-1")
    result = python("-m", "torch.distributed.run", *words)
    assert result.returncode == 1
    assert result.stderr.count("spaces.api.weight: got -1") == 1
    assert "exitcode  : 2" in result.stderr
    assert not (tmp_path / "runs").exists()
