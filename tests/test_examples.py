"""Every script in ``examples/`` runs from an empty directory, and does what its first lines say."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crossagent.errors import RecipeError
from crossagent.training.config import GRPOConfig

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SOURCES = [ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]
NAMES = (
    "custom_advantage",
    "grpo_with_a_plain_trainer",
    "sft_with_a_plain_trainer",
    "space_without_packaging",
)


def run(name: str, directory: Path, *arguments: str) -> str:
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, SOURCES)),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_run_by_a_test_and_says_how() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NAMES)
    for name in NAMES:
        said = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()))
        assert said
        assert f"python examples/{name}.py" in said


@pytest.mark.slow
def test_plain_trainers_train_and_go_on_from_one_another(tmp_path: Path) -> None:
    said = run("sft_with_a_plain_trainer", tmp_path, "200")
    found = re.search(r"success (\d+)% -> (\d+)% after (\d+) steps", said)
    assert found, said
    before, after, steps = map(int, found.groups())
    assert (before, steps > 10) == (0, True)
    assert after >= 20
    said = run("grpo_with_a_plain_trainer", tmp_path, "2")
    assert re.findall(r"iteration (\d+): \{'rollout/success': [\d.]+, 'rollout/return'", said) == ["1", "2"]
    weights = [(tmp_path / f"runs/example-{name}/model.safetensors").read_bytes() for name in ("sft", "grpo")]
    assert weights[0] != weights[1]


@pytest.mark.slow
def test_a_space_without_packaging_is_trained_and_evaluated(tmp_path: Path) -> None:
    run("space_without_packaging", tmp_path, "demonstrations.episodes=200", "evaluation.episodes=10")
    summary = json.loads((tmp_path / "runs/space_without_packaging/summary.json").read_text())
    untrained, sft = (stage["eval"]["id"]["stroll"]["success"] for stage in summary["stages"])
    assert untrained == 0
    assert sft >= 0.3


def _estimators_by_path() -> bool:
    try:
        GRPOConfig(estimator="module:function")
    except RecipeError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not _estimators_by_path(), reason="mtrl.estimator takes no module:function in this version")
def test_an_advantage_by_dotted_path_trains(tmp_path: Path) -> None:
    small = ("demonstrations.episodes=40", "sft.epochs=2", "mtrl.iterations=1", "evaluation.episodes=2")
    run("custom_advantage", tmp_path, *small, "mtrl.filter_zero_variance=false", "mtrl.drop_all_fail=false")
    directory = tmp_path / "runs/custom_advantage"
    assert "custom_advantage:ranks" in (directory / "recipe.yaml").read_text()
    assert [stage["stage"] for stage in json.loads((directory / "summary.json").read_text())["stages"]][-1] == "mtrl"
