"""The model of memory against real processes: predicted peaks are within 15 % of measured ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks/memory_plan.py"


def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("memory_plan", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MODULE = benchmark()


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peaks of resident memory are read from Linux's /proc"
)
@pytest.mark.parametrize(
    "name", ["long context", "checkpointing", "lora", "wide, few tokens", "eager attention", "grpo", "sampling"]
)
def test_a_predicted_peak_is_within_15_percent_of_the_measured_one(name: str) -> None:
    case = next(case for case in MODULE.CASES if case.name == name)
    result = MODULE.run_case(case)
    assert abs(result.error) < 0.15, (
        f"predicted {result.predicted / 2**20:.0f} MiB, measured {result.measured / 2**20:.0f}"
    )
