"""A run that was killed and continued is, bit for bit, the run that was not. The kills are real: see ``kill_runs``."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training_kit import WordSource, stage, timeless, tiny_policy

from crossagent.errors import CheckpointError
from crossagent.policy.config import LoraConfig
from crossagent.training import resume
from crossagent.training.callbacks import read_metrics
from crossagent.training.config import GRPOConfig
from crossagent.training.grpo import GRPOModule, train_grpo

SIGKILL = 9
REST = pytest.mark.slow
FAST = (("sft-lora", "update"), ("strl", "rollout"), ("mtrl", "checkpoint"))
POINTS = {
    "sft": {"update": 6, "checkpoint": 3, "end": 12},
    "sft-lora": {"update": 6, "checkpoint": 3, "renaming": 3},
    "strl": {"rollout": 2, "update": 2, "checkpoint": 2, "renaming": 2, "end": 4},
    "mtrl": {"rollout": 2, "update": 2, "checkpoint": 2, "renaming": 2, "end": 4},
}
"""Stage → where it is killed → the row of metrics it goes on after."""
CASES = [
    pytest.param(kind, point, row, marks=() if (kind, point) in FAST else REST)
    for kind, points in POINTS.items()
    for point, row in points.items()
]
TERMINATED = [("mtrl", 3), ("strl", 3), ("sft", 5)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Play all the cases that were selected, in one process, and return its directory."""
    directory = tmp_path_factory.mktemp("kills")
    wanted: dict[str, None] = dict.fromkeys(["sft"])  # the others begin where it ends
    for item in request.session.items:
        if item.path == Path(__file__) and hasattr(item, "callspec") and "kind" in item.callspec.params:
            kind, point = item.callspec.params["kind"], item.callspec.params.get("point", "term")
            wanted |= {kind: None, f"{kind}:{point}": None}
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(here / "kill_runs.py"), str(directory), *wanted]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    errors = [path.read_text() for path in directory.glob("*/error.txt")]
    assert not errors, errors[0]
    return directory


def same_as_unbroken(runs: Path, kind: str, point: str) -> dict[str, int]:
    """Assert that weights and every logged metric are those of the uninterrupted run; return the continued run's result."""
    one, other = runs / kind, runs / f"{kind}-{point}"
    rows = [timeless(read_metrics(run / "metrics.jsonl")) for run in (one, other)]
    assert rows[0]
    assert rows[0] == rows[1]
    weights = sorted(path.relative_to(one) for path in (one / "checkpoint").rglob("*.safetensors"))
    assert weights
    for path in weights:
        assert (one / path).read_bytes() == (other / path).read_bytes(), path
    assert sorted(path.name for path in other.iterdir()) == ["checkpoint", "metrics.jsonl", "result.json"]
    result: dict[str, int] = json.loads((other / "result.json").read_text())
    assert result["steps"] == json.loads((one / "result.json").read_text())["steps"] > 0
    return result


@pytest.mark.parametrize(("kind", "point", "row"), CASES)
def test_a_run_killed_by_sigkill_goes_on_bit_by_bit(runs: Path, kind: str, point: str, row: int) -> None:
    assert int((runs / f"{kind}-{point}.status").read_text()) == SIGKILL
    left = (runs / f"{kind}-{point}.left").read_text().split()
    assert "checkpoint" not in left
    assert ("resume" in left) != (point == "renaming"), left
    if point == "checkpoint":
        assert any(name.startswith(".resume.new-") for name in left), "it died while it wrote"
    assert same_as_unbroken(runs, kind, point)["resumed_from"] == row


@REST
@pytest.mark.parametrize(("kind", "row"), TERMINATED)
def test_sigterm_saves_at_the_end_of_the_step_or_iteration(runs: Path, kind: str, row: int) -> None:
    assert int((runs / f"{kind}-term.status").read_text()) == 3 << 8, "it ended by an exception of its own"
    assert same_as_unbroken(runs, kind, "term")["resumed_from"] == row


SMALL = GRPOConfig(iterations=2, groups=4, group_size=4, lr=1e-3, drop_all_fail=False)


class Killed(Exception):
    """Stands for kill −9."""


def cut_short(directory: Path, lora: LoraConfig | None = None) -> Path:
    """Leave a stage with a resume point after its first iteration; return the point's directory."""
    policy = tiny_policy(lora=lora)
    source = WordSource(policy)
    play = source.play

    def play_once(iteration: int) -> object:
        if iteration:
            raise Killed
        return play(iteration)

    source.play = play_once  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        train_grpo(policy, source, SMALL, stage(directory))
    return directory / resume.RESUME


@pytest.mark.parametrize("damage", ["truncated", "one bit", "no manifest", "file instead"])
def test_a_torn_resume_point_is_never_taken_for_a_good_one(tmp_path: Path, damage: str) -> None:
    point = cut_short(tmp_path)
    state = point / resume.STATE
    content = bytearray(state.read_bytes())
    if damage == "truncated":
        state.write_bytes(content[:-10])
    elif damage == "one bit":
        content[len(content) // 2] ^= 1
        state.write_bytes(content)
    elif damage == "no manifest":
        (point / "crossagent.json").unlink()
    else:
        state.unlink()
        (point / "crossagent.json").unlink()
        point.rmdir()
        point.write_bytes(b"torn")
    policy = tiny_policy()
    with pytest.raises(CheckpointError, match=r"resume point .* cannot be used .* Fix: remove it"):
        train_grpo(policy, WordSource(policy), SMALL, stage(tmp_path))


def test_a_resume_point_of_another_policy_is_refused(tmp_path: Path) -> None:
    cut_short(tmp_path, LoraConfig(r=4))
    policy = tiny_policy()
    with pytest.raises(CheckpointError, match="other weights than this policy trains"):
        train_grpo(policy, WordSource(policy), SMALL, stage(tmp_path))


def test_a_resume_point_under_lora_holds_no_base_weights(tmp_path: Path) -> None:
    policy = tiny_policy(lora=LoraConfig(r=4))
    trained = {f"trained.{name}" for name, p in policy.named_parameters() if p.requires_grad}
    state = torch.load(cut_short(tmp_path, LoraConfig(r=4)) / resume.STATE, weights_only=True)
    assert set(state["state_dict"]) == trained


def test_shared_generators_are_restored_without_pickled_objects(tmp_path: Path) -> None:
    torch.save(resume.generator_states(), tmp_path / "states")
    before = random.random(), np.random.standard_normal(), float(torch.rand(1))
    resume.restore_generators(torch.load(tmp_path / "states", weights_only=True))
    assert (random.random(), np.random.standard_normal(), float(torch.rand(1))) == before


def test_a_resumed_stage_does_not_warn_again(tmp_path: Path) -> None:
    policy = tiny_policy()
    module = GRPOModule(policy, WordSource(policy), SMALL)
    module.watch.look(1, {"space/even/share": 1.0, "train/entropy": 1.0})
    assert module.watch.look(2, {"space/even/share": 0.0})
    saved = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(saved)
    again = GRPOModule(policy, WordSource(policy), SMALL)
    again.on_load_checkpoint(saved)
    assert again.watch.look(3, {"space/even/share": 0.0}) == []
    assert again.watch.look(4, {"train/entropy": 0.01})
