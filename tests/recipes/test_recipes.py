"""Every shipped recipe composes, fits what is installed, and runs for a step."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossagent.errors import RecipeError, TaskError, Unavailable
from crossagent.estimate import estimate
from crossagent.policy.model import Policy
from crossagent.recipe.checks import CheckedRecipe, validate
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import load_plugins
from crossagent.rollout.store import load_trajectories

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
MINECRAFT = sorted((ROOT / "recipes/minecraft").glob("*_mtrl.yaml"))
HARDWARE = sorted((ROOT / "recipes/minecraft/hardware").glob("*.yaml"))
LORA = ROOT / "recipes/minecraft/lora.yaml"
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
    assert isinstance(plan, CheckedRecipe)
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


# -- models and devices that are not here -----------------------------------------------------------------------------
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("hardware", HARDWARE, ids=lambda path: path.stem)
@pytest.mark.parametrize("path", MINECRAFT, ids=lambda path: path.stem)
def test_a_recipe_for_real_hardware_composes_and_fits_it(path: Path, hardware: Path, lora: bool) -> None:
    overlays = [*([str(LORA)] if lora else []), str(hardware)]
    plan = validate(load_recipe(path, overlays), load_plugins())
    expected = estimate(plan)
    assert not expected.problems()
    assert expected.sharding.ranks == {"h100_x1": 1, "h100_x8": 8, "h100_2x8": 16}[hardware.stem]
    assert bool(plan.recipe.policy.lora) == lora
    published = {name.split(":")[-1] for name in (task.name for task in plan.training_tasks)}
    assert len(published) == 26, "the 30 tasks of the paper, without the four mobs that swim, fly or split"


def test_there_are_recipes_for_both_models_on_one_eight_and_sixteen_devices() -> None:
    assert [path.stem for path in MINECRAFT] == ["qwen2_5_vl_7b_mtrl", "qwen3_vl_8b_mtrl"]
    assert [path.stem for path in HARDWARE] == ["h100_2x8", "h100_x1", "h100_x8"]


def test_the_three_stages_have_the_published_hyper_parameters() -> None:
    recipe = load_recipe(ROOT / "recipes/minecraft/three_stages.yaml")
    assert (recipe.sft.lr, recipe.sft.lr * recipe.sft.min_lr_ratio) == (8e-6, 1e-6)
    assert (recipe.sft.warmup, recipe.sft.weight_decay, recipe.sft.epochs) == (0.03, 0.05, 1)
    assert (recipe.strl.lr, recipe.strl.groups, recipe.strl.group_size, recipe.strl.kl_coef) == (1e-6, 1272, 4, 0.01)
    assert recipe.strl.minibatches == round(1272 / 144)
    assert (recipe.mtrl.lr, recipe.mtrl.groups, recipe.mtrl.group_size, recipe.mtrl.kl_coef) == (5e-6, 8, 4, 0.01)
    assert (recipe.mtrl.kl, recipe.mtrl.entropy_coef, recipe.mtrl.invalid_penalty) == ("k3", 0.0, 0.1)
    assert (recipe.prompt.history, recipe.rollout.max_new_tokens, recipe.strl.max_new_tokens) == (3, 256, 1024)
    assert recipe.evaluation.temperature == 0.4


def test_a_dry_run_says_plan_and_launch_line_without_weights(crossagent: Run, tmp_path: Path) -> None:
    result = crossagent("run", ROOT / "recipes/minecraft/qwen2_5_vl_7b_mtrl.yaml", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "policy       Qwen/Qwen2.5-VL-7B-Instruct" in result.stdout
    assert "model        8.29 billion parameters" in result.stdout
    assert "memory       mtrl: " in result.stdout
    assert "start        torchrun --standalone --nproc-per-node 8 -m crossagent run " in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("path", "lora"), list(zip(MINECRAFT, (False, True), strict=True)), ids=["full", "lora"])
def test_a_tiny_model_that_sees_goes_through_all_stages(
    path: Path, lora: bool, crossagent: Run, tmp_path: Path, tiny_vision: Callable[[str], dict[str, Any]]
) -> None:
    """The recipe as it is, with pictures; a model of its kind from a config, CraftWorld, one process."""
    kind = "qwen2_5_vl" if "2_5" in path.stem else "qwen3_vl"
    model = tmp_path / "tiny"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(tiny_vision(kind)))
    result = crossagent(
        "run", path, *([LORA] if lora else []), ROOT / "recipes/debug/one_step.yaml",
        f"policy.model={model}", "policy.dtype=float32", "policy.attention=sdpa", "policy.max_pixels=3136",
        "environment.name=craftworld", "environment.options.image_size=[64, 64]", "run_name=tiny",
        "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=1", "trainer.strategy=auto",
        "trainer.precision=32-true", "trainer.deterministic=true", "plan.hardware=cpu", "rollout.max_new_tokens=8",
        "strl.max_new_tokens=8", "strl.minibatches=1", "relabel.max_new_tokens=8", "sft.micro_batches=8",
        "prompt.fragments=headers", "demonstrations.episodes=6", "demonstrations.splits=[published]",
        "evaluation.experts=false", "evaluation.single_spaces_after=[]", "evaluation.episodes=1", "mtrl.filter_zero_variance=false",
        "mtrl.drop_all_fail=false", "strl.filter_zero_variance=false", "strl.drop_all_fail=false",
        timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "runs/tiny/summary.json").read_text())
    assert [row["stage"] for row in summary["stages"]] == ["untrained", "sft", "strl", "relabel", "mtrl"]
    for stage in ("sft", "strl", "mtrl"):
        rows = [json.loads(line) for line in (tmp_path / f"runs/tiny/{stage}/metrics.jsonl").read_text().splitlines()]
        deviations = [row.get("train/ratio_first_deviation", 0.0) for row in rows]
        assert max(deviations) < 1e-5, "sampling and training see the same pictures"
    trajectories = load_trajectories(tmp_path / "runs/tiny/mtrl/trajectories/step-000001.parquet")
    turn = trajectories[0].turns[-1]
    assert turn.image
    kept = Policy.load(tmp_path / "runs/tiny/mtrl/checkpoint")
    assert kept.pictures is not None
    assert turn.prompt_ids.count(kept.pictures.pad_id) > 0


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
