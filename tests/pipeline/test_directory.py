"""Whose a run's directory is: what counts as another recipe."""

import json
from pathlib import Path

import pytest

from crossagent.errors import RecipeError
from crossagent.pipeline.directory import RunDirectory
from crossagent.recipe.schema import Recipe, SpaceConfig


def recipe(folder: Path, **changes: object) -> Recipe:
    return Recipe(spaces={"api": SpaceConfig(weight=0.5)}, run_name="run", runs_dir=str(folder), **changes)  # type: ignore[arg-type]


def forget(folder: Path, *keys: str) -> None:
    """Rewrite the run's state as a version would have that did not know a key."""
    file = folder / "run" / "state.json"
    state = json.loads(file.read_text())
    for key in keys:
        *path, last = key.split(".")
        section = state["recipe"]
        for name in path:
            section = section[name]
        del section[last]
    file.write_text(json.dumps(state))


def test_a_key_that_an_older_version_did_not_know_has_its_default(tmp_path: Path) -> None:
    RunDirectory.open(recipe(tmp_path))
    forget(tmp_path, "rollout.constrained", "spaces.api.cost", "sft", "trainer.precision")
    RunDirectory.open(recipe(tmp_path))
    changed = recipe(tmp_path)
    changed.rollout.constrained = True
    with pytest.raises(RecipeError, match=r"these keys differ.*\n  rollout\.constrained: False → True\nFix"):
        RunDirectory.open(changed)
    changed = recipe(tmp_path)
    changed.spaces["api"].cost.per_turn = 2.0
    with pytest.raises(RecipeError, match=r"spaces\.api\.cost\.per_turn"):
        RunDirectory.open(changed)


def test_a_key_that_this_version_no_longer_knows_is_a_difference(tmp_path: Path) -> None:
    RunDirectory.open(recipe(tmp_path))
    file = tmp_path / "run" / "state.json"
    state = json.loads(file.read_text())
    state["recipe"]["mtrl"]["gone"] = 1
    file.write_text(json.dumps(state))
    with pytest.raises(RecipeError, match=r"mtrl\.gone: 1 → not set"):
        RunDirectory.open(recipe(tmp_path))


def test_another_space_is_a_difference_though_it_has_its_defaults(tmp_path: Path) -> None:
    RunDirectory.open(recipe(tmp_path))
    wider = recipe(tmp_path)
    wider.spaces["gui"] = SpaceConfig()
    with pytest.raises(RecipeError, match=r"spaces\.gui: not set"):
        RunDirectory.open(wider)
