"""``recipes/miniwob.yaml`` trains in Chromium, and a checkpoint of CraftWorld plays there as it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crossagent.plugin import Unavailable
from crossagent.registry.plugin_set import load_plugins
from crossagent_miniwob.suite import suite

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _chromium() -> None:
    try:
        load_plugins().build_environment("miniwob").close()
    except Unavailable as error:
        pytest.skip(str(error))


def test_the_recipe_trains_end_to_end(crossagent: Run, tmp_path: Path) -> None:
    smaller = ["mtrl.iterations=3", "evaluation.episodes=20", "demonstrations.episodes=400", "tracking.mlflow=false"]
    done = crossagent("run", ROOT / "recipes/miniwob.yaml", *smaller, timeout=1200)
    assert done.returncode == 0, done.stderr
    stages = json.loads((tmp_path / "runs/miniwob/summary.json").read_text())["stages"]
    success = {
        (stage["stage"], suite): agents["mixed"]["success"]
        for stage in stages
        for suite, agents in stage["eval"].items()
    }
    assert success["untrained", "id"] <= 0.1
    assert success["sft", "id"] >= 0.4
    assert success["mtrl", "id"] >= 0.4
    assert success["mtrl", "ood"] >= 0.4  # a page that was never shown


def test_one_recipe_in_another_world(crossagent: Run, tmp_path: Path) -> None:
    trained = crossagent(
        "run", ROOT / "recipes/quickstart.yaml", ROOT / "recipes/debug/one_step.yaml", "stages=[sft]", "run_name=cw"
    )
    assert trained.returncode == 0, trained.stderr
    played = crossagent(
        "eval",
        "runs/cw",
        "environment.name=miniwob",
        "environment.options={}",
        "rollout.worlds_per_worker=2",
        "--episodes",
        "4",
        "--json",
    )
    assert played.returncode == 0, played.stderr
    for agents in json.loads(played.stdout)["eval"].values():
        assert agents["mixed"]["failures"] == 0
        assert set(agents["mixed"]["categories"]) <= {task.category for task in suite().tasks()}
