"""Peak memory: hand-counted cases, and that more never needs less. Against real processes: test_measured.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.estimate.memory import GIB, Job, Sampling, Scoring, Update, activations, keeps_copy, plan
from crossagent.estimate.numbers import Numbers
from crossagent.estimate.shape import ModelShape
from crossagent.estimate.sharding import STRATEGIES, Sharding
from crossagent.training.config import STRATEGIES as TRAINED

SHAPE = ModelShape(width=8, layers=2, heads=2, kv_heads=1, head_dim=4, feed_forward=16, vocab=10, tied=True)
P = SHAPE.parameters
QWEN = ModelShape(3584, 28, 28, 4, 128, 18944, 152064, qkv_bias=True)
BATCH = Update(rows=1, tokens=100, targets=10)
BF16 = {"precision": "bf16-true", "dtype": "bfloat16"}


def job(**more: object) -> Job:
    return replace(Job(SHAPE, update=BATCH, foreach=False), **more)  # type: ignore[arg-type]


def test_adam_in_fp32_has_16_bytes_per_parameter_between_two_batches() -> None:
    step = plan(job()).phases["optimiser step"]
    assert step["weights"] == step["gradients"] == 4 * P
    assert step["optimiser"] == 8 * P


def test_zero_divides_state_then_gradients_then_weights() -> None:
    """The 16 bytes of mixed-precision Adam, K = 12, over N: ZeRO's figure 1 (arXiv 1910.02054)."""
    ranks, total = 4, []
    for stage in (1, 2, 3):
        own = job(sharding=Sharding.of(f"deepspeed_stage_{stage}", ranks), **BF16)
        items = plan(own).phases["optimiser step"]
        total.append(items["weights"] + items["gradients"] + items["optimiser"])
    assert total == [(2 + 2 + 12 / 4) * P, (2 + (2 + 12) / 4) * P, (2 + 2 + 12) / 4 * P]


def test_a_7b_model_with_mixed_precision_adam_has_the_122_gb_that_zero_counts() -> None:
    own = Job(QWEN, Sharding.of("deepspeed_stage_1", 1), update=BATCH, **BF16)  # type: ignore[arg-type]
    items = plan(own).phases["optimiser step"]
    assert items["weights"] + items["gradients"] + items["optimiser"] == 16 * QWEN.parameters
    assert QWEN.parameters == 7_615_616_512


def test_offloaded_state_and_gradients_are_the_hosts() -> None:
    memory = plan(job(sharding=Sharding.of("deepspeed_stage_2_offload", 2), **BF16))
    assert memory.phases["optimiser step"]["optimiser"] == memory.phases["update"]["gradients"] == 0
    assert memory.host["training"] == {"offloaded optimiser": 12 * P, "offloaded gradients": 2 * P}
    everything = plan(job(sharding=Sharding.of("deepspeed_stage_3_offload", 2), **BF16))
    assert everything.phases["update"]["weights"] == 0
    assert everything.host["training"]["offloaded weights"] == 2 * P


def test_every_process_reads_the_model_before_it_is_sharded() -> None:
    memory = plan(job(sharding=Sharding.of("fsdp2", 8, 2), **BF16))
    assert memory.host["loading"] == {"weights": 8 * 2 * P}


def test_what_a_layer_keeps_by_hand() -> None:
    # per token: stream, normalised, norm's output, twice: 6·8; q and output 2·8, k and v 2·4; feed-forward 4·16
    layer = 6 * 8 + 2 * 8 + 2 * 4 + 4 * 16
    kept, inside = activations(job(), BATCH)
    assert kept == 100 * 4 * (2 * layer + 3 * 8)  # and around the last norm
    assert inside == 100 * 4 * (2 * 16 + 2 * 8)
    again, recomputed = activations(job(checkpointing=True), BATCH)
    assert again == 100 * 4 * (2 * 8 + 3 * 8)
    assert recomputed == 100 * 4 * (layer - 8 + 2 * 16 + 2 * 8)


def test_frozen_norms_keep_no_normalised_stream() -> None:
    full, lora = activations(job(), BATCH)[0], activations(job(lora_rank=2), BATCH)[0]
    assert full - lora == 100 * 4 * 2 * (2 * 8) - 100 * 2 * 4 * 2 * 7


def test_scores_are_kept_by_eager_attention_alone() -> None:
    eager = activations(job(eager=True), BATCH)[0] - activations(job(), BATCH)[0]
    assert eager == 2 * 100 * 2 * 100 * 4


def test_the_output_layer_runs_at_trained_positions() -> None:
    few, many = (plan(job(update=replace(BATCH, targets=n))).phases["update"] for n in (1000, 2000))
    assert many["logits and backward"] - few["logits and backward"] == 3 * 4 * 1000 * 10


def test_the_reference_is_a_frozen_copy_or_the_adapters_of_before() -> None:
    assert plan(job(reference=True)).phases["update"]["reference"] == 4 * P
    assert plan(job(reference=True, lora_rank=2)).phases["update"]["reference"] == 4 * SHAPE.adapters(2)


def test_a_sharded_policy_is_kept_whole_beside_for_sampling() -> None:
    for strategy in STRATEGIES:
        sharded = job(sharding=Sharding.of(strategy, 2))
        assert keeps_copy(sharded) == (sharded.sharding.stage == 3)
        assert ("whole policy" in plan(sharded).phases["update"]) == keeps_copy(sharded)
    rounded = job(sharding=Sharding.of("deepspeed_stage_1", 2), **BF16)
    assert plan(rounded).phases["update"]["whole policy"] == 2 * P


def test_the_cache_of_keys_and_values() -> None:
    memory = plan(replace(job(update=None), sampling=Sampling(rows=8, context=100, new=20)))
    assert memory.phases["rollout"]["KV cache"] == 8 * 120 * 2 * 2 * 4 * 4
    assert memory.fullest == "rollout"


def test_autocast_keeps_copies_of_the_weights() -> None:
    assert plan(job(precision="bf16-mixed")).phases["update"]["autocast copies"] == 2 * P


@pytest.mark.parametrize(
    ("precision", "dtype", "engine", "bytes_"),
    [
        ("32-true", "float32", "", (4, 4, 8)),
        ("32-true", "float32", "deepspeed", (4, 4, 12)),
        ("bf16-mixed", "float32", "", (4, 4, 8)),
        ("bf16-mixed", "float32", "deepspeed", (2, 2, 12)),
        ("bf16-true", "float32", "fsdp2", (2, 2, 4)),
        ("bf16-true", "bfloat16", "deepspeed", (2, 2, 12)),
    ],
)
def test_bytes_per_number(precision: str, dtype: str, engine: str, bytes_: tuple[int, int, int]) -> None:
    numbers = Numbers.of(precision, dtype, engine)
    assert (numbers.weight, numbers.gradient, numbers.optimizer) == bytes_


def test_a_plan_knows_the_strategies_that_train() -> None:
    assert set(STRATEGIES) == set(TRAINED)
    for name, shape in TRAINED.items():
        own = Sharding.of(name, 2)
        assert (own.stage, own.offload_optimizer, own.offload_parameters) == tuple(shape)


_jobs = st.builds(
    Job,
    shape=st.sampled_from([SHAPE, QWEN]),
    sharding=st.builds(Sharding.of, st.sampled_from(STRATEGIES), st.sampled_from([1, 2, 8])),
    precision=st.sampled_from(["32-true", "bf16-mixed", "bf16-true"]),
    dtype=st.sampled_from(["float32", "bfloat16"]),
    lora_rank=st.sampled_from([0, 8]),
    checkpointing=st.booleans(),
    eager=st.booleans(),
    update=st.builds(Update, st.integers(1, 8), st.integers(16, 4096), st.integers(1, 500), accumulates=st.booleans()),
    scoring=st.builds(Scoring, st.integers(1, 8), st.integers(16, 4096), st.integers(1, 500)),
    sampling=st.builds(Sampling, st.integers(1, 256), st.integers(16, 4096), st.integers(1, 500)),
    reference=st.booleans(),
    foreach=st.booleans(),
)


@given(_jobs, st.integers(1, 3000))
def test_more_never_needs_less(one: Job, more: int) -> None:
    peak = plan(one).peak
    assert one.update is not None
    assert one.sampling is not None
    for wider in (
        replace(one, update=replace(one.update, rows=one.update.rows + more)),
        replace(one, update=replace(one.update, tokens=one.update.tokens + more)),
        replace(one, update=replace(one.update, targets=one.update.targets + more)),
        replace(one, sampling=replace(one.sampling, rows=one.sampling.rows + more)),
        replace(one, sampling=replace(one.sampling, context=one.sampling.context + more)),
        replace(one, shape=replace(one.shape, layers=one.shape.layers + 1)),
        replace(one, reference=True),
    ):
        assert plan(wider).peak >= peak * (1 - 1e-12)
    assert all(value >= 0 for items in plan(one).phases.values() for value in items.values())


@given(_jobs, st.sampled_from(STRATEGIES), st.sampled_from([2, 4, 8]))
def test_a_rank_never_needs_more_when_there_are_more_of_them(one: Job, strategy: str, ranks: int) -> None:
    few = plan(replace(one, sharding=Sharding.of(strategy, ranks)))
    many = plan(replace(one, sharding=Sharding.of(strategy, 2 * ranks)))
    assert many.peak <= few.peak * (1 + 1e-12)


@given(_jobs)
def test_checkpointing_and_adapters_never_need_more(one: Job) -> None:
    assert one.update is not None
    long = replace(one, update=replace(one.update, accumulates=True))
    kept = [sum(activations(replace(long, checkpointing=on), one.update)) for on in (False, True)]
    assert kept[1] <= kept[0] * (1 + 1e-12) or one.shape.layers <= 2
    full = replace(long, lora_rank=0, shape=QWEN, reference=False)
    needed = [sum(plan(replace(full, lora_rank=rank)).phases["update"].values()) for rank in (8, 0)]
    assert needed[0] <= needed[1] or full.sharding.offload_optimizer


def test_a_gibibyte() -> None:
    assert GIB == 2**30
