"""What benchmarks/rollout_vs_trl.py and decode.py make of their rows, and that our decode loop says what generate says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

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


@pytest.mark.parametrize("model", ["llama", "gemma3"])
def test_greedy_tokens_are_those_of_generate(model: str) -> None:
    decode = load("decode")
    tokenizer, _ = decode.common.load(decode.common.Case("tiny", "float32", 1, 40, 1e-3, 8))
    row = decode.greedy(model, tokenizer)
    assert row["our_loop"]
    assert row["equal"] == row["prompts"] == 8
