"""``tracking.listeners``: functions of the user's get every number of a run, and can stop none."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from crossagent.errors import RecipeError
from crossagent.pipeline import recipe_run as pipeline
from crossagent.recipe.checks import CheckedRecipe, validate
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import load_plugins
from crossagent.testing import toy_environment
from crossagent.tracking.listeners import Listeners
from crossagent.training.callbacks import read_metrics

RECIPE = """
environment: {name: toy}
spaces: {api: {weight: 0.02}}
stages: [sft]
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
rollout: {workers: 0, worlds_per_worker: 4}
demonstrations: {episodes: 12}
sft: {epochs: 2, batch_size: 32}
evaluation: {episodes: 2, experts: false, suites: {ood: null}}
tracking: {mlflow: false, plots: false, report: false, listeners: ["own_tracker:tell", "own_tracker:fail"]}
"""
Told = list[tuple[str, int, dict[str, float]]]


@pytest.fixture
def own_tracker() -> Iterator[types.ModuleType]:
    """A module of the user's: ``tell`` records, ``fail`` raises."""
    module = types.ModuleType("own_tracker")
    told: Told = []

    def fail(stage: str, step: int, metrics: dict[str, float]) -> None:
        metrics.clear()
        raise ConnectionError("no network")

    vars(module).update(told=told, tell=lambda *call: told.append(call), fail=fail, few=lambda stage: None)
    sys.modules["own_tracker"] = module
    yield module
    del sys.modules["own_tracker"]


def plan(directory: Path, *changes: str) -> CheckedRecipe:
    (directory / "tiny.yaml").write_text(RECIPE)
    recipe = load_recipe(directory / "tiny.yaml", [f"runs_dir={directory / 'runs'}", *changes])
    return validate(recipe, load_plugins().with_(environment=toy_environment()))


def test_a_listener_gets_every_row_and_every_evaluation_and_one_that_raises_stops_nothing(
    own_tracker: types.ModuleType, tmp_path: Path
) -> None:
    pipeline.run(plan(tmp_path), Console(quiet=True))
    rows = read_metrics(tmp_path / "runs/tiny/sft/metrics.jsonl")
    told: Told = own_tracker.told
    assert len(rows) > 1
    assert [call for call in told if "sft/loss" in call[2]] == [("sft", row["step"], row) for row in rows]
    evaluated = [(stage, step) for stage, step, metrics in told if "eval/id/api/success" in metrics]
    assert evaluated == [("untrained", 0), ("sft", 1)]


def test_one_that_raises_is_said_once_and_called_no_more(
    own_tracker: types.ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    listeners = Listeners({"own_tracker:fail": own_tracker.fail, "own_tracker:tell": own_tracker.tell})
    with caplog.at_level(logging.WARNING):
        for step in (1, 2):
            listeners("sft", step, {"sft/loss": 1.0})
    assert own_tracker.told == [("sft", 1, {"sft/loss": 1.0}), ("sft", 2, {"sft/loss": 1.0})]
    (record,) = caplog.records
    assert (
        "tracking.listeners: own_tracker:fail raised ConnectionError: no network; it is called no more"
        in record.message
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wandb", r"tracking.listeners: got 'wandb'; expected module:function, e.g. my_package.my_module:my_function"),
        ("own_tracker:tel", r"tracking.listeners: 'own_tracker:tel': .* no function 'tel'. Did you mean 'tell'"),
        ("own_tracker:few", r"cannot be called as \(stage, step, metrics\) -> None"),
        ("no_such_tracker:tell", "cannot import no_such_tracker"),
    ],
)
def test_what_cannot_be_called_is_refused_before_anything_starts(
    own_tracker: types.ModuleType, tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        plan(tmp_path, f"tracking.listeners=[{name}]")
    assert not (tmp_path / "runs").exists()


def test_who_listens_is_no_part_of_a_run_s_identity(own_tracker: types.ModuleType, tmp_path: Path) -> None:
    assert plan(tmp_path).recipe.sha256 == plan(tmp_path, "tracking.listeners=[]").recipe.sha256
