"""Every shipped recipe composes, fits what is installed, and runs for a step."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crossagent.errors import RecipeError, TaskError, Unavailable
from crossagent.recipe import Plan, load_recipe, validate
from crossagent.registry import load_plugins

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
OVERLAYS = sorted((ROOT / "recipes/debug").glob("*.yaml"))
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_there_are_recipes_and_overlays() -> None:
    assert ROOT / "recipes/quickstart.yaml" in RECIPES
    assert len(OVERLAYS) >= 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_command(path: Path) -> None:
    assert f"crossagent run recipes/{path.name}" in "".join(path.read_text().partition("\n\n")[0])


@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=lambda path: path.stem if path else "alone")
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_composes_and_fits_what_is_installed(path: Path, overlay: Path | None) -> None:
    recipe = load_recipe(path, [str(overlay)] if overlay else [])
    plan = validate(recipe, load_plugins())
    assert isinstance(plan, Plan)
    assert recipe.run_name == path.stem + (f"-{overlay.stem}" if overlay else "")


def test_the_quickstart_is_the_experiment_that_the_readme_describes() -> None:
    plan = validate(load_recipe(ROOT / "recipes/quickstart.yaml"), load_plugins())
    assert plan.recipe.stages == ["sft", "strl", "relabel", "mtrl"]
    assert list(plan.recipe.spaces) == ["api", "gui", "control"]
    assert plan.recipe.evaluation.episodes >= 100
    assert len(plan.suites["id"]) == 30
    seen = {task.name for task in (*plan.demonstration_tasks, *plan.training_tasks)}
    assert not seen & {task.name for task in plan.suites["ood"]}
    with pytest.raises(TaskError, match="splits"):
        validate(load_recipe(ROOT / "recipes/quickstart.yaml", ["training_tasks.splits=[tarin]"]), load_plugins())


def test_a_space_and_its_share_of_demonstrations_can_be_left_out() -> None:
    changes = ["spaces.gui=null", "demonstrations.mixture.gui=0"]
    recipe = load_recipe(ROOT / "recipes/quickstart.yaml", changes)
    assert list(validate(recipe, load_plugins()).recipe.spaces) == ["api", "control"]
    with pytest.raises(RecipeError, match=r"unknown kind 'gui'.* gui: 0"):
        load_recipe(ROOT / "recipes/quickstart.yaml", changes[:1])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_for_a_step(path: Path, crossagent: Run, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    try:
        load_plugins().build_environment(recipe.environment.name, recipe.environment.options).close()
    except Unavailable as error:
        pytest.skip(str(error))
    result = crossagent("run", path, ROOT / "recipes/debug/one_step.yaml")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs" / f"{path.stem}-one_step" / "summary.json").is_file()


def test_openha_without_its_weights_says_so_before_it_plays(
    crossagent: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no_models"))
    result = crossagent("run", ROOT / "recipes/openha.yaml", "tracking.mlflow=false")
    assert result.returncode == 2
    last = result.stderr.strip().splitlines()[-1]
    assert "policy.model: 'CraftJarvis/minecraft-openha-qwen2vl-7b-2509' is no preset" in last
    assert "the hub did not give it" in last
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs/openha/demonstrations.parquet").exists()
