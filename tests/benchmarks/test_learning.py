"""The benchmark of learning: its statistics, and that it runs (on the toy world)."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/learning.py"
RECIPE = """
environment: {name: toy}
spaces: {api: {weight: 0.02}, gui: {weight: 0.02}, control: {weight: 0.02}}
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
rollout: {workers: 1, worlds_per_worker: 8}
sft: {epochs: 8, batch_size: 32, lr: 4e-3}
strl: {iterations: 1, groups: 8, group_size: 4}
relabel: {states: 12, samples: 2, sft: {epochs: 1, batch_size: 8}}
mtrl: {iterations: 2, groups: 2, group_size: 2, filter_zero_variance: false, drop_all_fail: false}
"""


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec = importlib.util.spec_from_file_location("learning", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "learning", module)
    spec.loader.exec_module(module)
    return module


def seeds(share: float, cost: float, count: int = 3) -> list[dict[int, tuple[bool, float]]]:
    draws = [random.Random(f"{share}/{k}") for k in range(count)]
    return [{world: (rng.random() < share, cost * (1 + rng.random())) for world in range(300)} for rng in draws]


def test_each_claim_holds_only_when_the_numbers_say_so(learning: ModuleType) -> None:
    good = {"sft": seeds(0.5, 4, 1), "mtrl": seeds(0.8, 1), "mtrl-free": seeds(0.8, 3), "strl-mtrl": seeds(0.95, 0.7)}
    bad = {"sft": seeds(0.5, 4, 1), "mtrl": seeds(0.52, 3), "mtrl-free": seeds(0.8, 1), "strl-mtrl": seeds(0.52, 3.5)}
    found = learning.verdicts(good, 0.05), learning.verdicts(bad, 0.05)
    assert [line.endswith("— holds") for line in found[0]] == [True] * 5
    assert [line.endswith("— does not hold") for line in found[1]] == [True] * 5
    assert found[0] == learning.verdicts(good, 0.05), "the bootstrap is seeded"
    other = {**good, "mtrl": [dict.fromkeys(range(9), (True, 1.0))] * 3}
    with pytest.raises(SystemExit, match="mtrl was not evaluated in the same worlds"):
        learning.verdicts(other, 0.05)


def test_cost_per_success_counts_what_failures_cost(learning: ModuleType) -> None:
    played = [{0: (True, 1.0), 1: (False, 3.0)}, {0: (True, 2.0), 1: (True, 2.0)}]
    assert learning.cost_per_success(played) == 8.0 / 3
    assert learning.cost_per_success(played, [1]) == 5.0
    assert learning.success(played) == 75.0
    assert "| sft | 2 | 75.0 |" in learning.render({"sft": played})


@pytest.mark.slow
def test_it_runs_and_does_not_run_twice(python: Callable, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(RECIPE)
    command = [
        SCRIPT, "--recipe", tmp_path / "toy.yaml", "--seeds", "3", "--episodes", "6", "--demonstrations", "80",
        "--out", tmp_path / "out", "--runs-dir", tmp_path / "runs",
    ]  # fmt: skip
    wrong = python(*command, "--arms", "mtlr", timeout=900)
    assert "unknown mtlr; expected some of mtrl, mtrl-free, strl-mtrl" in wrong.stderr
    part = python(*command, "--arms", "mtrl", "--only-train", timeout=900)
    assert part.returncode == 0, part.stderr
    assert not (tmp_path / "out").exists()
    first = tmp_path / "runs/toy-learning-mtrl-seed3.json"
    first.write_text(json.dumps({**json.loads(first.read_text()), "commit": "begun before"}))
    done = python(*command, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is complete") == 2
    rows = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [(row["arm"], row["seed"]) for row in rows] == [
        ("sft", 0), *((arm, seed) for arm in ("mtrl", "mtrl-free", "strl-mtrl") for seed in (3,))
    ]  # fmt: skip
    assert [row["commit"] == "begun before" for row in rows] == [False, True, False, False]
    assert all(row["cost_per_success"] >= 0 and row["episodes"] == 6 for row in rows)
    assert (tmp_path / "out/curves.png").stat().st_size > 0
    raw = [json.loads(line) for line in (tmp_path / "out/episodes.jsonl").read_text().splitlines()]
    assert [(each["arm"], each["seed"]) for each in raw] == [(row["arm"], row["seed"]) for row in rows]
    for each, row in zip(raw, rows, strict=True):
        assert len(each["worlds"]) == len(each["success"]) == len(each["cost"]) == 6
        assert sum(each["cost"]) / max(1, sum(each["success"])) == pytest.approx(row["cost_per_success"], abs=1e-3)
        assert len(each["rollouts"]) == (0 if each["arm"] == "sft" else 2)
    table = (tmp_path / "out/table.md").read_text()
    assert "| strl-mtrl | 1 |" in table
    again = python(*command, timeout=900)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is complete") == 4
    assert (tmp_path / "out/table.md").read_text() == table
