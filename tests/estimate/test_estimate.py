"""A recipe's plan: what it reads, what it refuses and advises, what it says; and that a measured run corrects it."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

from crossagent.errors import RecipeError
from crossagent.estimate import Estimate, estimate
from crossagent.estimate.hardware import HARDWARE, Hardware
from crossagent.estimate.inputs import hardware_of, policy_shape
from crossagent.estimate.memory import GIB
from crossagent.estimate.rates import measured
from crossagent.recipe.checks import validate
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import load_plugins

ROOT = Path(__file__).parents[2]
BIG = ROOT / "recipes/minecraft/qwen2_5_vl_7b_mtrl.yaml"
ONE = str(ROOT / "recipes/minecraft/hardware/h100_x1.yaml")
LORA = str(ROOT / "recipes/minecraft/lora.yaml")
QUICK = ROOT / "recipes/quickstart.yaml"


PLUGINS = functools.cache(load_plugins)


def planned(path: Path, *changes: str) -> Estimate:
    return estimate(validate(load_recipe(path, changes), PLUGINS()))


@pytest.fixture(scope="module")
def big() -> Estimate:
    return planned(BIG)


def test_the_sizes_of_the_released_models_are_theirs() -> None:
    """Parameters as their checkpoints' indices sum them up."""
    assert policy_shape(load_recipe(BIG)).parameters == 8_292_166_656
    assert policy_shape(load_recipe(ROOT / "recipes/minecraft/qwen3_vl_8b_mtrl.yaml")).parameters == 8_767_123_696


def test_zero_3_with_offloading_keeps_the_trained_state_on_the_host(big: Estimate) -> None:
    mtrl = big.stages[-1].memory
    assert mtrl.phases["update"]["weights"] == mtrl.phases["update"]["optimiser"] == 0
    assert mtrl.phases["update"]["whole policy"] == 2 * big.shape.parameters
    # master weights and moments, gradients, weights: 16 bytes a parameter, whatever the number of ranks on the machine
    offloaded = sum(value for name, value in mtrl.host["training"].items() if name.startswith("offloaded"))
    assert offloaded == pytest.approx(16 * big.shape.parameters)
    assert not big.problems()


def test_what_does_not_fit_is_refused_with_what_is_needed_there_and_to_change() -> None:
    tight = planned(BIG, ONE, "plan.hardware=4090")
    with pytest.raises(RecipeError) as refused:
        tight.check()
    text = str(refused.value)
    assert "does not fit" in text
    assert "strl needs" in text
    assert "4090 has 22.4 GiB, 2.0 GiB of it kept free" in text
    assert "not enough alone" in text


def test_advice_is_tried_before_it_is_given() -> None:
    changes = [
        ONE,
        "stages=[mtrl]",
        "rollout.sampler.batch_size=256",
        "rollout.worlds_per_worker=64",
        "plan.memory_gib=64",
    ]
    changes += ["mtrl.groups=64", "environment.options.observation=text"]
    before = planned(BIG, *changes)
    (problem,) = before.problems()
    advice = problem.partition("Change: ")[2].split(";")[0].split(" ")[0]
    assert advice.startswith("rollout.sampler.batch_size=")
    after = planned(BIG, *changes, advice)
    assert not after.problems()
    assert after.device_peak <= after.device_limit < before.device_peak


def test_more_devices_more_memory_and_a_price() -> None:
    lora = planned(BIG, LORA, ONE, "plan.price_per_device_hour=2.5", "stages=[mtrl]")
    assert lora.trained == lora.shape.adapters(64)
    assert lora.seconds is not None
    assert lora.cost == pytest.approx(lora.seconds / 3600 * 2.5)
    eight = planned(BIG, LORA, "plan.price_per_device_hour=2.5", "stages=[mtrl]")
    assert eight.seconds is not None
    assert eight.seconds < lora.seconds
    assert planned(BIG, LORA, ONE, "stages=[mtrl]").cost is None


def test_hosts_are_checked_where_their_memory_is_known() -> None:
    (problem,) = planned(BIG, "plan.host_gib=100").problems()
    assert "are needed in the memory of each machine; it has 100.0 GiB" in problem
    (cpu,) = planned(QUICK, "rollout.workers=4096").problems()
    assert "rollout.workers" in cpu


def test_pictures_go_through_the_vision_tower(big: Estimate) -> None:
    blind = planned(BIG, "environment.options.observation=text")
    assert big.stages[-1].time.parts["prefill"] > blind.stages[-1].time.parts["prefill"]
    assert (
        big.stages[-1].memory.phases["update"]["activations"] > blind.stages[-1].memory.phases["update"]["activations"]
    )


def test_what_a_recipe_says_of_its_hardware_counts() -> None:
    recipe = load_recipe(
        BIG, ["plan.hardware=h200", "plan.memory_gib=100", "plan.network_gb_s=12.5", "plan.bf16_tflops=500"]
    )
    hardware = hardware_of(recipe)
    assert hardware.memory == 100 * GIB
    assert hardware.network == 12.5e9
    assert hardware.bf16_flops == 5e14
    assert hardware.bandwidth == HARDWARE["h200"].bandwidth
    with pytest.raises(RecipeError, match=r"plan\.hardware: not set.*'cuda'"):
        hardware_of(load_recipe(BIG, ["plan.hardware=''"]))
    with pytest.raises(RecipeError, match=r"plan\.efficiency: got 2.*expected"):
        load_recipe(BIG, ["plan.efficiency=2"])


def test_shapes_come_from_presets_directories_and_the_recipe(tmp_path: Path) -> None:
    assert policy_shape(load_recipe(QUICK)).width == 64
    config = {"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2,
              "intermediate_size": 64, "vocab_size": 9}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    bare = policy_shape(load_recipe(QUICK, [f"policy.model={tmp_path}"]))
    assert (bare.width, bare.vocab) == (32, 2048)  # a tokenizer will be made
    (tmp_path / "tokenizer.json").write_text("{}")
    assert policy_shape(load_recipe(QUICK, [f"policy.model={tmp_path}"])).vocab == 9
    with pytest.raises(RecipeError, match=r"'nobody/nothing'.*plan\.architecture"):
        policy_shape(load_recipe(QUICK, ["policy.model=nobody/nothing"]))
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(RecipeError, match=r"config\.json: cannot be read"):
        policy_shape(load_recipe(QUICK, [f"policy.model={tmp_path}"]))


def test_a_run_says_what_is_reached(tmp_path: Path) -> None:
    """Metrics of iterations that took twice what the model says at peak: half of it is reached."""
    plain = Hardware("cpu", 8e9, 1e10, 1e10, 1e10, 5e9, 1e9, "cpu")
    recipe = load_recipe(QUICK, ["stages=[mtrl]"])
    (tmp_path / "mtrl").mkdir(parents=True)
    from crossagent.recipe.compose import to_yaml

    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    row = {
        "rollout/trajectories": 128.0, "rollout/turns": 8.0, "rollout/response_tokens": 6.0, "rollout/groups": 16.0,
        "group/trained": 8.0, "time/generate": 3.0, "time/environment": 0.5, "time/logprobs": 2.0, "time/update": 4.0,
        "time/iteration": 10.0, "rollout/tokens_per_second": 5120.0,
    }  # fmt: skip
    (tmp_path / "mtrl/metrics.jsonl").write_text("\n".join(json.dumps(row) for _ in range(3)) + "\n")
    seen = measured(tmp_path, plain)
    rates = seen.rates
    # 5120 tokens a second for 10 s, in half of 128 trajectories of 8 turns: 100 tokens a row, 6 of them sampled
    assert (seen.turns, seen.prompt, seen.response) == (8.0, 94.0, 6.0)
    assert rates.source == str(tmp_path)
    assert rates.environment_s > 0
    slower = {name: value * 2 if name in ("time/generate", "time/update") else value for name, value in row.items()}
    slower["time/iteration"], slower["rollout/tokens_per_second"] = 20.0, 2560.0
    (tmp_path / "mtrl/metrics.jsonl").write_text("\n".join(json.dumps(slower) for _ in range(3)) + "\n")
    half = measured(tmp_path, plain).rates
    assert half.sampling == pytest.approx(rates.sampling / 2)
    assert half.training == pytest.approx(rates.training / 2)
    assert half.scoring == pytest.approx(rates.scoring)
    expected = estimate(validate(recipe, PLUGINS()), tmp_path)
    assert expected.assumed[0] == f"times as in {tmp_path}: 8.0 turns an episode, prompts of 94 tokens, responses of 6"
    with pytest.raises(RecipeError, match="is no run"):
        measured(tmp_path / "nowhere", plain)
    (tmp_path / "mtrl/metrics.jsonl").unlink()
    with pytest.raises(RecipeError, match="no metrics of strl or mtrl"):
        measured(tmp_path, plain)


def test_it_can_be_read_by_people_and_machines(big: Estimate) -> None:
    lines = "\n".join(big.describe())
    assert "8.29 billion parameters, all of them train; bf16-true" in lines
    assert "8 × h100, strategy deepspeed_stage_3_offload" in lines
    assert "plan.price_per_device_hour=PRICE" in lines
    content = json.loads(json.dumps(big.as_dict()))
    assert content["device_bytes"] == max(stage["peak"] for stage in content["stages"])
    assert content["devices"] == 8
    assert [stage["stage"] for stage in content["stages"]] == ["sft", "strl", "relabel", "mtrl"]
