"""Seconds of a step: hand-counted, monotone, and equal to what was measured once calibrated."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.errors import RecipeError
from crossagent.estimate.hardware import HARDWARE, Hardware, find, this_cpu
from crossagent.estimate.shape import ModelShape
from crossagent.estimate.sharding import STRATEGIES, Sharding
from crossagent.estimate.steps import (
    DEVICES,
    Rates,
    Setting,
    Work,
    calibrated,
    forward_flops,
    iteration,
    modelled_scaling,
    supervised_step,
)

SHAPE = ModelShape(width=8, layers=2, heads=2, kv_heads=1, head_dim=4, feed_forward=16, vocab=10, tied=True)
LINEAR = 2 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16)
DEVICE = Hardware("made up", 1e9, bf16_flops=2e6, fp32_flops=1e6, bandwidth=1e5, interconnect=1e4, network=1e3)
PEAK = Rates(1.0, 1.0, 1.0, network=1.0, latency_s=0.0)
WORK = Work(trajectories=8, turns=2, prompt=30, response=10, steps=2, worlds=8, overlap=False)
BIG = ModelShape(3584, 28, 28, 4, 128, 18944, 152064, qkv_bias=True)


def setting(**more: object) -> Setting:
    return replace(Setting(SHAPE, DEVICE), **more)  # type: ignore[arg-type]


def test_a_forward_pass_by_hand() -> None:
    # per token: every weight twice, and 4·width per token attended to in each layer; the output layer where asked
    assert forward_flops(SHAPE, 100, 20, 7) == 2 * 100 * (LINEAR + 2 * 8 * 2 * 20) + 2 * 7 * 8 * 10


def test_a_7b_model_reads_a_prompt_of_1000_tokens_at_14_teraflop() -> None:
    assert forward_flops(BIG, 1000, 500, 0) == pytest.approx(2 * 6.53e9 * 1000, rel=0.04)


def test_an_iteration_by_hand() -> None:
    time = iteration(setting(), WORK, PEAK)
    forward = forward_flops(SHAPE, 16 * 40, 20, 16 * 10)
    assert time.parts["log-probs"] == forward / 1e6
    assert time.parts["update"] == 3 * forward / 1e6
    assert time.parts["prefill"] == forward_flops(SHAPE, 16 * 30, 15, 16) / 1e6
    # two batches of eight rows, ten tokens each; bound by reading weights and the cache, or by computing
    cache = 2 * 2 * 4 * 4
    read = (SHAPE.decoder_parameters * 4 + 8 * 35 * cache) / 1e5
    assert time.parts["decode"] == pytest.approx(2 * 10 * max(read, forward_flops(SHAPE, 8, 35, 8) / 1e6))
    assert time.parts["optimiser"] == pytest.approx(2 * SHAPE.parameters * (8 + 4 + 16) / 1e5)
    assert time.parts["communication"] == time.parts["environment"] == 0.0
    assert time.seconds == pytest.approx(time.rollout + time.training)


def test_ddp_moves_its_gradients_twice_per_optimiser_step() -> None:
    two = setting(sharding=Sharding.of("ddp", 2))
    assert iteration(two, WORK, PEAK).parts["communication"] == pytest.approx(2 * 2 * 0.5 * SHAPE.parameters * 4 / 1e4)
    nodes = setting(sharding=Sharding.of("ddp", 1, 2))
    assert iteration(nodes, WORK, PEAK).parts["communication"] == pytest.approx(2 * SHAPE.parameters * 4 / 1e3)


def test_stage_3_gathers_weights_per_micro_batch() -> None:
    few = iteration(setting(sharding=Sharding.of("fsdp2", 2)), replace(WORK, micro_tokens=10_000), PEAK)
    many = iteration(setting(sharding=Sharding.of("fsdp2", 2)), replace(WORK, micro_tokens=20), PEAK)
    assert many.parts["communication"] > few.parts["communication"]


def test_frozen_weights_have_no_gradient_and_checkpointing_a_second_forward_pass() -> None:
    full = iteration(setting(), WORK, PEAK).parts["update"]
    assert iteration(setting(lora_rank=2), WORK, PEAK).parts["update"] == pytest.approx(full * 2 / 3)
    assert iteration(setting(checkpointing=True), WORK, PEAK).parts["update"] == pytest.approx(full * 4 / 3)


def test_worlds_hide_behind_sampling_under_halves() -> None:
    slow = replace(PEAK, environment_s=1.0)
    alone = iteration(setting(), WORK, slow)
    halves = iteration(setting(), replace(WORK, overlap=True), slow)
    assert alone.parts["environment"] == 16.0
    sampled = halves.parts["prefill"] + halves.parts["decode"]
    assert halves.parts["environment"] == max(0.0, 16.0 - sampled)
    assert replace(alone, parts={**alone.parts, "environment": 1e9}).bottleneck == "environment"


def test_half_precision_is_twice_as_fast_on_this_device() -> None:
    half = iteration(setting(precision="bf16-true", dtype="bfloat16"), WORK, PEAK)
    assert half.parts["update"] == iteration(setting(), WORK, PEAK).parts["update"] / 2


@given(
    trajectories=st.integers(1, 500), turns=st.floats(1, 50), prompt=st.floats(1, 4000), response=st.floats(1, 300),
    ranks=st.sampled_from([1, 2, 8, 16]), strategy=st.sampled_from(STRATEGIES), grow=st.floats(1, 4),
)  # fmt: skip
def test_more_work_never_takes_less_time(
    trajectories: int, turns: float, prompt: float, response: float, ranks: int, strategy: str, grow: float
) -> None:
    at = Setting(BIG, HARDWARE["h100"], Sharding.of(strategy, ranks), "bf16-true", "bfloat16")
    work = Work(trajectories, turns, prompt, response, worlds=10_000)
    base = iteration(at, work, Rates()).seconds * (1 - 1e-9)
    assert iteration(at, replace(work, turns=turns * grow), Rates()).seconds >= base
    assert iteration(at, replace(work, prompt=prompt * grow), Rates()).seconds >= base
    assert iteration(at, replace(work, response=response * grow), Rates()).seconds >= base
    assert iteration(at, replace(work, trajectories=trajectories + 1), Rates()).seconds >= base
    assert iteration(at, work, replace(Rates(), environment_s=1.0)).seconds >= base


@given(
    generate=st.floats(0.1, 100), waited=st.floats(0.01, 100), scored=st.floats(0.1, 100), updated=st.floats(0.1, 100),
    overlap=st.booleans(), ranks=st.sampled_from([1, 2]),
)  # fmt: skip
def test_once_calibrated_the_model_says_what_was_measured(
    generate: float, waited: float, scored: float, updated: float, overlap: bool, ranks: int
) -> None:
    at, work = setting(sharding=Sharding.of("ddp", ranks)), replace(WORK, overlap=overlap)
    row = {"time/generate": generate, "time/environment": waited, "time/logprobs": scored, "time/update": updated}
    rates = calibrated(at, work, [{"time/generate": 1e9}, row], "a run")
    time = iteration(at, work, rates)
    assert time.parts["prefill"] + time.parts["decode"] == pytest.approx(generate)
    assert time.parts["environment"] == pytest.approx(waited)
    assert time.parts["log-probs"] == pytest.approx(scored)
    assert time.parts["update"] + time.parts["optimiser"] == pytest.approx(updated)
    assert rates.source == "a run"


def test_scaling_is_labelled_and_names_what_holds_it_back() -> None:
    at = Setting(BIG, HARDWARE["h100"], Sharding.of("ddp", 8), "bf16-true", "bfloat16")
    work = Work(256, 20, 2000, 64, micro_tokens=16_384)
    weak, strong = (modelled_scaling(at, work, Rates(), weak=mode) for mode in (True, False))
    assert [row.devices for row in weak] == list(DEVICES)
    assert weak[0].speedup == strong[0].speedup == 1.0
    assert weak[-1].trajectories == 256 * 128
    assert all(row.trajectories == 256 for row in strong)
    assert 0.5 < weak[-1].efficiency <= 1.0 + 1e-9
    assert strong[-1].efficiency < 0.1  # 256 trajectories do not occupy 1,024 devices
    assert strong[-1].time.bottleneck == "decode"  # all weights are read for one response at a time
    shown = weak[-1].as_dict()
    assert shown["modelled"] is True
    assert shown["bottleneck"] in weak[-1].time.parts


@given(st.floats(0, 0.5))
def test_stragglers_cost_more_on_more_devices(spread: float) -> None:
    at = Setting(BIG, HARDWARE["h100"], Sharding.of("ddp", 8), "bf16-true", "bfloat16")
    rows = modelled_scaling(at, Work(64, 20, 2000, 64), replace(Rates(), straggle=spread))
    seconds = [row.time.seconds for row in rows]
    assert seconds == sorted(seconds)


def test_a_supervised_step() -> None:
    one = supervised_step(setting(), 8, 30, 10, 1, PEAK)
    assert one.parts["update"] == 3 * forward_flops(SHAPE, 240, 15, 80) / 1e6
    two = supervised_step(setting(sharding=Sharding.of("ddp", 2)), 8, 30, 10, 1, PEAK)
    assert two.parts["update"] == one.parts["update"] / 2
    assert two.parts["communication"] > 0


def test_strategies_come_to_what_they_shard() -> None:
    assert Sharding.of("auto") == Sharding()
    assert Sharding.of("auto", 2) == Sharding(2, 2, 0, "ddp")
    assert Sharding.of("deepspeed_stage_1_offload", 4) == Sharding(4, 4, 1, "deepspeed", True)
    assert Sharding.of("deepspeed_stage_3_offload_optimizer", 4) == Sharding(4, 4, 3, "deepspeed", True)
    assert Sharding.of("deepspeed_stage_3_offload", 8, 2) == Sharding(16, 8, 3, "deepspeed", True, True)
    assert Sharding.of("fsdp2", 2) == Sharding(2, 2, 3, "fsdp2")
    with pytest.raises(RecipeError, match="deepspeed_stage_3"):
        Sharding.of("deepspeed_stage_4")
    with pytest.raises(RecipeError, match="0 devices"):
        Sharding.of("ddp", 0)


def test_hardware_by_name() -> None:
    assert find("h100").memory == 80e9
    with pytest.raises(RecipeError, match=r"plan\.hardware: got 'h10'.*h100"):
        find("h10")
    cpu = this_cpu(0.01)
    assert cpu.kind == "cpu"
    assert cpu.memory > 2**30
    assert cpu.bf16_flops > 1e8
