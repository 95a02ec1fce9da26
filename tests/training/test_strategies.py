"""One loss: however many processes there are, and whatever each of them keeps, the same batch trains the same weights."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import many
import pytest
from safetensors.torch import load_file
from scale_cases import GRPO

pytestmark = pytest.mark.multiprocess
KINDS = ("sft", "grpo", "sft-lora", "grpo-lora")
STRATEGIES = (
    "ddp", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3", "fsdp2", "deepspeed_stage_2_offload",
    "deepspeed_stage_3_offload",
)  # fmt: skip
RARE = (("grpo", "deepspeed_stage_1_offload"), ("sft", "deepspeed_stage_3_offload_optimizer"))
"""Strategies whose parts others test too: once each."""
FAST = (("sft", "ddp"), ("grpo", "deepspeed_stage_3"))
MISSING = importlib.util.find_spec("deepspeed") is None
needs_deepspeed = pytest.mark.skipif(MISSING, reason="needs deepspeed: pip install 'crossagent[deepspeed]'")
CASES = [
    pytest.param(
        kind,
        strategy,
        marks=[
            *([] if (kind, strategy) in FAST else [pytest.mark.slow]),
            *([needs_deepspeed] if strategy.startswith("deepspeed") else []),
        ],
    )
    for kind, strategy in (*itertools.product(KINDS, STRATEGIES), *RARE)
]
CHAIN = (
    ("deepspeed_stage_3", 2), ("auto", 1), ("fsdp2", 2), ("deepspeed_stage_1", 3), ("ddp", 2), ("deepspeed_stage_2", 2),
)  # fmt: skip
"""Under what a stage goes on, each time it was stopped, and in how many processes."""
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, list[many.Ended]]:
    """Train what the selected tests compare, all of it in one start of Python; leaves the stages in ``runs["at"]``."""
    directory = tmp_path_factory.mktemp("scale")
    calls: dict[str, many.Call] = {}

    def call(name: str, processes: int, place: str, **arguments: object) -> None:
        arguments = {"directory": str(directory / place), **arguments}
        calls.setdefault(name, many.Call(processes, "scale_cases:train", arguments, timeout=240))

    for item in request.session.items:
        if item.path != Path(__file__) or not hasattr(item, "callspec"):
            continue
        kind, strategy = item.callspec.params.get("kind"), item.callspec.params.get("strategy")
        if kind is None or (MISSING and (strategy not in ("ddp", "fsdp2"))):
            continue
        call(kind, 1, kind, kind=kind)
        if strategy:
            call(f"{kind}:{strategy}", 2, f"{kind}-{strategy}", kind=kind, strategy=strategy)
        else:
            rows = SFT_ROWS if kind.startswith("sft") else GRPO.iterations
            for number, (other, size) in enumerate(CHAIN):
                stop = rows * (number + 1) // len(CHAIN) if number < len(CHAIN) - 1 else 0
                call(f"{kind}:chain{number}", size, f"{kind}-chain", kind=kind, strategy=other, stop=stop)
    ended = many.run(directory, list(calls.values()))
    return dict(zip(calls, ended, strict=True)) | {"at": directory}  # type: ignore[dict-item]


SFT_ROWS = 20


def same_training(runs: dict[str, list[many.Ended]], kind: str, name: str, place: str) -> None:
    """Assert that every logged number and every weight are those of one process."""
    (one,) = many.values(runs[kind])
    other = many.values(runs[name])
    assert len(one["rows"]) == (SFT_ROWS if kind.startswith("sft") else GRPO.iterations)
    assert all(rank == other[0] for rank in other), "all ranks report the same"
    assert other[0]["steps"] == one["steps"] == 20
    for row, expected in zip(other[0]["rows"], one["rows"], strict=True):
        assert row == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
    directory: Path = runs["at"]  # type: ignore[assignment]
    for file in sorted((directory / kind / "checkpoint").rglob("*.safetensors")):
        expected, weights = load_file(file), load_file(directory / place / file.relative_to(directory / kind))
        assert weights.keys() == expected.keys()
        for key, value in expected.items():
            assert float((weights[key] - value).abs().max()) < TOLERANCE, key
    assert one["rows"][0] != one["rows"][-1]
    assert sorted(path.name for path in (directory / place).iterdir()) == ["checkpoint", "metrics.jsonl"]


@pytest.mark.parametrize(("kind", "strategy"), CASES)
def test_processes_and_shards_change_nothing(runs: dict[str, list[many.Ended]], kind: str, strategy: str) -> None:
    same_training(runs, kind, f"{kind}:{strategy}", f"{kind}-{strategy}")


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_goes_on_under_another_strategy_and_in_other_numbers(
    runs: dict[str, list[many.Ended]], kind: str
) -> None:
    """The last rank alone is sent SIGTERM; all of them stop at that row, and what goes on is the run that was not stopped."""
    rows = SFT_ROWS if kind.startswith("sft") else GRPO.iterations
    for number in range(len(CHAIN) - 1):
        stopped = rows * (number + 1) // len(CHAIN)
        for found in many.values(runs[f"{kind}:chain{number}"]):
            assert f"SIGTERM after step {stopped};" in found["interrupted"]
            assert len(found["rows"]) == stopped
        assert many.values(runs[f"{kind}:chain{number + 1}"])[0]["resumed"] in (0, stopped)
    same_training(runs, kind, f"{kind}:chain{len(CHAIN) - 1}", f"{kind}-chain")


@pytest.fixture(scope="module")
def special(
    tmp_path_factory: pytest.TempPathFactory, tiny_vision: Callable[[str], dict[str, Any]]
) -> dict[str, list[many.Ended]]:
    """Runs of a kind of their own, in one start of Python."""
    calls = {
        "three groups": many.Call(2, "scale_cases:play", {"strategy": "deepspeed_stage_3", "groups": 3}),
        "one group": many.Call(2, "scale_cases:play", {"strategy": "deepspeed_stage_3", "groups": 1}),
        "one group, fsdp2": many.Call(2, "scale_cases:play", {"strategy": "fsdp2", "groups": 1}),
        **{s: many.Call(2, "scale_cases:overflow", {"strategy": s}) for s in OVERFLOWING},
    }
    for kind in ("sft", "grpo"):
        how: dict[str, Any] = {"kind": kind, "model": tiny_vision("qwen2_5_vl")}
        calls[f"{kind}, seeing"] = many.Call(1, "scale_cases:look", how, 240)
        for strategy in SEEING:
            call = many.Call(2, "scale_cases:look", {**how, "strategy": strategy}, 240)
            calls[f"{kind}, seeing, {strategy}"] = call
    directory = tmp_path_factory.mktemp("special")
    for number, (strategy, precision, dtype, _) in enumerate(HALF):
        place = {"directory": str(directory / str(number)), "kind": "grpo"}
        how = {"strategy": strategy, "precision": precision, "dtype": dtype}
        calls[f"{strategy} {precision}"] = many.Call(
            1 if strategy == "auto" else 2, "scale_cases:train", place | how, 240
        )
    ended = many.run(directory, list(calls.values()))
    return dict(zip(calls, ended, strict=True))


HALF = (
    ("auto", "32-true", "float32", 0.0), ("auto", "bf16-mixed", "float32", 0.0), ("ddp", "bf16-true", "bfloat16", 0.0),
    ("deepspeed_stage_2", "bf16-true", "bfloat16", 0.0), ("deepspeed_stage_3", "bf16-mixed", "float32", 0.05),
    ("fsdp2", "bf16-mixed", "float32", 0.0), ("fsdp2", "bf16-true", "bfloat16", 0.0),
)  # fmt: skip
"""Strategy, precision, ``policy.dtype``, and how far from 1 the ratio may be on the first pass: under DeepSpeed a policy in fp32 is
trained by passes in bfloat16, which the recipe warns of."""
SEEING = ("ddp", "deepspeed_stage_2", "deepspeed_stage_3", "fsdp2")
OVERFLOWING = ("ddp", "deepspeed_stage_2", "deepspeed_stage_3", "fsdp2")


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("name", ["three groups", "one group", "one group, fsdp2"])
def test_a_rank_whose_episodes_end_early_waits_for_nobody(special: dict[str, list[many.Ended]], name: str) -> None:
    """Ranks sample different numbers of responses of different lengths; one may have no group at all."""
    one, other = many.values(special[name])
    assert one["calls"] > 0
    assert (other["calls"] == 0) == name.startswith("one group")
    assert one["moved"] == other["moved"] != 0


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("strategy", OVERFLOWING)
def test_a_gradient_that_is_not_finite_on_one_rank_is_skipped_on_all(
    special: dict[str, list[many.Ended]], strategy: str
) -> None:
    one, other = many.values(special[strategy])
    (row,) = one["rows"]
    assert (row["train/skipped_steps"], row["train/optimizer_steps"]) == (1, 1)
    assert other["rows"] == []
    assert one["weights"] == other["weights"]
    assert math.isfinite(one["weights"])


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "precision", "dtype", "deviation"), HALF[1:])
def test_half_precision_trains_like_fp32_and_its_ratio_begins_at_one(
    special: dict[str, list[many.Ended]], strategy: str, precision: str, dtype: str, deviation: float
) -> None:
    expected = many.values(special["auto 32-true"])[0]["rows"]
    found = many.values(special[f"{strategy} {precision}"])[0]
    assert found["steps"] == 20
    for row, whole in zip(found["rows"], expected, strict=True):
        assert row["train/ratio_first_deviation"] <= deviation
        assert row["train/loss"] == pytest.approx(whole["train/loss"], abs=0.02)
    assert found["rows"] != expected


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sft", "grpo"])
@pytest.mark.parametrize("strategy", SEEING)
def test_ranks_without_a_picture_run_what_reads_them_and_the_training_is_that_of_one_process(
    special: dict[str, list[many.Ended]], kind: str, strategy: str
) -> None:
    (one,) = many.values(special[f"{kind}, seeing"])
    first, other = many.values(special[f"{kind}, seeing, {strategy}"])
    assert first["weights"] == other["weights"]
    assert len(first["rows"]) == len(one["rows"]) > 1
    for row, expected in zip(first["rows"], one["rows"], strict=True):
        assert row == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
    assert first["vision"] == pytest.approx(one["vision"], rel=1e-6)
    assert first["weights"] == pytest.approx(one["weights"], rel=1e-6)
