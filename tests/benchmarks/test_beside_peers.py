"""What benchmarks/rollout_vs_trl.py and decode.py make of their rows, and that our decode loop says what generate says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_ratios_are_of_medians_and_larger_is_better_for_us() -> None:
    sides = {"trl": (2.0, [4.0, 8.0, 100.0]), "ours": (1.0, [2.0, 1.0, 2.0])}
    rows = [
        {"what": "grpo", "side": side, "samples": 32, "tokens": 320, "rollout_cpu_s": played, "step_cpu_s": step, "peak_mb": 10 * played}
        for side, (played, steps) in sides.items()
        for step in steps
    ]  # fmt: skip
    found = load("rollout_vs_trl").figures(rows)
    assert found["samples_per_s"] == {"trl": 16.0, "ours": 32.0, "ratio": 2.0}
    assert found["tokens_per_s"]["ours"] == 320.0
    assert found["steps_per_s"]["ratio"] == pytest.approx(8.0 / 2.0)
    assert found["peak_mb"]["ratio"] == 2.0, "half the memory"


def test_the_bound_is_what_kernels_alone_would_reach() -> None:
    step = {"samples": 8, "tokens": 80, "peak_mb": 10}
    rows = [
        {"what": "grpo", "side": "trl", "rollout_cpu_s": 8.0, "step_cpu_s": 12.0, **step},
        {"what": "grpo", "side": "ours", "rollout_cpu_s": 2.0, "step_cpu_s": 4.0, **step},
        {
            "what": "floor",
            "side": "ours",
            "rollout_kernels_s": 1.0,
            "step_kernels_s": 3.0,
            "step_cpu_s": 99.0,
            "peak_mb": 99,
        },
    ]
    found = load("rollout_vs_trl").figures(rows)
    assert {figure: value.get("bound") for figure, value in found.items()} == {
        "samples_per_s": 8.0, "tokens_per_s": 8.0, "steps_per_s": 4.0, "peak_mb": None,
    }  # fmt: skip
    assert found["samples_per_s"]["ratio"] == 4.0


def test_kernels_are_counted_where_they_ran() -> None:
    events = [
        SimpleNamespace(name=name, time_range=SimpleNamespace(start=start, end=end), self_cpu_time_total=micro)
        for name, start, end, micro in (
            ("rollout", 0, 100, 5), ("aten::mm", 10, 20, 2e6), ("aten::mul", 20, 30, 7e6),
            ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", 100, 110, 3e6),
        )
    ]  # fmt: skip
    common = load("rollout_vs_trl") and importlib.import_module("common")
    assert common.kernel_seconds(events) == {"step_kernels_s": 5.0, "rollout_kernels_s": 2.0}


@pytest.mark.parametrize("model", ["llama", "gemma3"])
def test_greedy_tokens_are_those_of_generate(model: str) -> None:
    decode = load("decode")
    tokenizer, _ = decode.common.load(decode.common.Case("tiny", "float32", 1, 40, 1e-3, 8))
    row = decode.greedy(model, tokenizer)
    assert row["our_loop"]
    assert row["equal"] == row["prompts"] == 8
