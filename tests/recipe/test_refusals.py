"""A recipe whose reinforcement cannot work is refused before any model is loaded or anything is written, with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossagent.errors import RecipeError
from crossagent.recipe.checks import CheckedRecipe, validate
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import load_plugins

QUICKSTART = Path(__file__).parents[2] / "recipes/quickstart.yaml"


def plan(*overrides: str) -> CheckedRecipe:
    return validate(load_recipe(QUICKSTART, list(overrides)), load_plugins())


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("mtrl.group_size=1", "mtrl.group_size: got 1; expected at least 2: a group of one has no baseline"),
        ("strl.group_size=1", "strl.group_size: got 1"),
        ("mtrl.clip_low=0", "mtrl.clip_low: got 0"),
        ("mtrl.clip_high=-0.1", "mtrl.clip_high: got -0.1; expected > 0"),
        ("mtrl.dual_clip=0.9", "mtrl.dual_clip: got 0.9; expected > 1"),
        ("rollout.top_p=0.9", "rollout.top_p: top_p is not offered in training: it makes the sampler another policy"),
        ("rollout.async=true", "rollout.async: it is a schedule: rollout.schedule=async"),
        (
            "rollout.schedule=async",
            "rollout.schedule: 'async' samples by arrival, so a run cannot be repeated bit by bit",
        ),
        ("rollout.schedule=halfs", "Did you mean 'halves'?"),
        ("rollout.memory_mb=-1", "rollout.memory_mb: got -1; expected ≥ 0"),
        ("rollout.max_failed=2", "rollout.max_failed: got 2"),
        ("rollout.top_k=50", "rollout.top_k: top_k is not offered in training"),
        ("mtrl.top_p=0.9", "mtrl.top_p: top_p is not offered in training"),
        ("relabel.top_k=5", "relabel.top_k: top_k is not offered in training"),
        ("mtrl.estimator=gigop", "Did you mean 'gigpo'? Or module:function."),
        ("mtrl.estimator=gae", "unknown estimator value 'gae'. Known: gigpo, group. Or module:function."),
        ("strl.estimator=gigpo", "strl.estimator: a single turn has no steps to give credit to"),
        ("mtrl.estimator='a b:c'", "mtrl.estimator: got 'a b:c'; expected module:function"),
        ("mtrl.estimator=nowhere_at_all:fn", "mtrl.estimator: 'nowhere_at_all:fn': cannot import nowhere_at_all"),
        ("mtrl.estimator=json:lods", "mtrl.estimator: 'json:lods': json has no function 'lods'. Did you mean 'load"),
        ("mtrl.loss=json:dumps", "mtrl.loss: 'json:dumps': cannot be called as (ratio, advantages, *, clip_low"),
        ("spaces.browser.weight=0.1", "spaces.browser.weight: spaces has no 'browser'"),
        ("mtrl.reference=sft", "mtrl.reference: got 'sft' with kl_coef 0"),
        (
            "trainer.precision=16-mixed",
            "trainer.precision: got '16-mixed'; strl and mtrl clip gradients by their true norm",
        ),
        ("mtrl.single_space_share=-1", "mtrl.single_space_share: got -1.0; expected 0 to 1"),
        ("mtrl.overlong_buffer=1000", "mtrl.overlong_buffer: got 1000; expected at most"),
    ],
)
def test_a_recipe_that_cannot_learn_is_refused_with_its_reason(
    override: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as error:
        plan(override)
    assert says in str(error.value)
    assert "Traceback" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["strl.reference=mtrl", "strl.kl_coef=0.1"],
            "strl.reference: got 'mtrl'; expected one of start, untrained, sft",
        ),
        (
            ["mtrl.reference=mtrl", "mtrl.kl_coef=0.1"],
            "mtrl.reference: got 'mtrl'; expected one of start, untrained, sft",
        ),
        (["mtrl.reference=strl", "mtrl.kl_coef=0.1", "stages=[sft,mtrl]"], "expected one of start, untrained, sft:"),
        (["mtrl.reference=base", "mtrl.kl_coef=0.1"], "mtrl.reference: got 'base'"),
    ],
)
def test_a_reference_must_be_a_policy_that_exists_when_the_stage_begins(overrides: list[str], says: str) -> None:
    with pytest.raises(RecipeError) as error:
        plan(*overrides)
    assert says in str(error.value)


def test_a_reference_of_an_earlier_stage_is_accepted() -> None:
    assert plan("mtrl.reference=sft", "mtrl.kl_coef=0.1").recipe.mtrl.reference == "sft"


def test_a_cost_weight_with_a_scale_that_erases_it_is_said_and_not_refused() -> None:
    quiet = plan()
    assert any(quiet.recipe.weights.values())
    assert quiet.recipe.warnings == []
    for scale, why in (("group", "divided by their own std"), ("batch", "rescaled"), ("whiten", "rescaled")):
        loud = plan(f"mtrl.scale={scale}", f"strl.scale={scale}")
        assert len(loud.recipe.warnings) == 1  # single turns have no cost
        assert loud.recipe.warnings[0].startswith(f"mtrl.scale: {scale} with λ > 0: ")
        assert why in loud.recipe.warnings[0]
        assert any(line.startswith("warning ") and loud.recipe.warnings[0] in line for line in loud.describe())
    free = [f"spaces.{name}.weight=0" for name in quiet.recipe.spaces]
    assert plan("mtrl.scale=group", *free).recipe.warnings == []


def test_a_weight_of_a_listed_space_may_change() -> None:
    name = next(iter(load_recipe(QUICKSTART).spaces))
    assert plan(f"spaces.{name}.weight=0.25").recipe.weights[name] == 0.25


def test_deepspeed_in_bfloat16_with_a_policy_in_fp32_is_warned_of() -> None:
    half = ("trainer.strategy=deepspeed_stage_3", "trainer.precision=bf16-mixed")
    (text,) = plan(*half).recipe.warnings
    assert "expected policy.dtype: bfloat16" in text
    assert plan(*half, "policy.dtype=bfloat16").recipe.warnings == []
    assert plan("trainer.strategy=fsdp2", "trainer.precision=bf16-mixed").recipe.warnings == []
