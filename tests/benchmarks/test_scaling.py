"""The benchmark of scaling: its fits, and that what is modelled says so and follows from what was measured."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/scaling.py"
CONFIG = {
    "model_type": "llama", "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256,
    "vocab_size": 1024, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scaling", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module
    spec.loader.exec_module(module)
    return module


def measured(**changes: float) -> dict[str, Any]:
    row = {
        "what": "processes", "trajectories": 64, "turns": 6.0, "prompt": 120.0, "response": 9.0, "group_tokens_cv": 0.3,
        "bytes_per_trajectory": 20e3, "unpack_s_per_trajectory": 1e-4, "acting_share": 0.2, "rollout_1_cpu_s": 4.0,
        "rollout_2_cpu_s": 2.2, "logprobs_1_cpu_s": 1.0, "update_1_cpu_s": 3.0, "training_2_cpu_s": 2.2,
    }  # fmt: skip
    return row | changes


@pytest.fixture
def work(tmp_path: Path) -> Path:
    checkpoint = tmp_path / "runs/sft/sft/checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_a_power_law_is_found(scaling: ModuleType) -> None:
    xs = [1, 2, 4, 8]
    c, p, r2 = scaling.fitted(xs, [0.5 * x**1.5 for x in xs])
    assert (c, p, r2) == pytest.approx((0.5, 1.5, 1.0))
    assert scaling.fitted(xs, [1.0, 3.0, 1.0, 3.0])[2] < 0.5


def test_the_model_repeats_what_it_was_calibrated_by(scaling: ModuleType, work: Path) -> None:
    content = scaling.modelled(work, [measured(), measured()])
    parts = content["check"]["parts"]
    alone = {"prefill", "decode", "environment", "log-probs", "update", "optimiser"}
    # Two processes have half of it each, and the slower one is waited for.
    assert 2 * sum(parts[name] for name in alone) == pytest.approx(8.0, rel=0.05)
    assert parts["stragglers"] > 0
    assert content["check"]["measured_2_s"] == pytest.approx(4.4)


def test_what_is_modelled_says_so_and_names_what_takes_longest(scaling: ModuleType, work: Path) -> None:
    content = scaling.modelled(work, [measured()])
    for name in ("weak", "strong"):
        rows = content[name]
        assert [row["devices"] for row in rows] == [8, 16, 32, 64, 128, 256, 512, 1024]
        assert all(row["modelled"] is True for row in rows)
        assert all(row["bottleneck"] == max(row["parts"], key=row["parts"].get) for row in rows)
        assert all(b["efficiency"] <= a["efficiency"] + 1e-9 for a, b in itertools.pairwise(rows))
    heavy = scaling.modelled(work, [measured(bytes_per_trajectory=20e6, unpack_s_per_trajectory=0.1)])
    assert heavy["weak"][-1]["bottleneck"] == "telling each other"
    text = scaling.table(content)
    assert text.count("(modelled)") == 2
    assert "| 1,024 |" in text


def test_nothing_is_modelled_on_nothing(scaling: ModuleType, work: Path) -> None:
    with pytest.raises(SystemExit, match=r"run `python benchmarks/scaling\.py processes` first"):
        scaling.modelled(work, [])
