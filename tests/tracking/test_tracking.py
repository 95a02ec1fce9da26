"""Files appear whole, the summary keeps its shape, plots come from files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from crossagent.errors import DataError
from crossagent.tracking import plots
from crossagent.tracking.files import read_json, read_metrics, write_json
from crossagent.tracking.summary import CELL_KEYS, cell_metrics, cell_rows, write_summary

CELL = {
    "success": 0.5,
    "ci95": [0.3, 0.7],
    "return": 0.4,
    "episodes": 20,
    "turns": 3.0,
    "ticks": 12.0,
    "cost": 0.1,
    "shares": {"api": 0.25, "gui": 0.75},
}


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state.json"
    write_json(file, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(file, {"a": math.nan})
    assert read_json(file) == {"a": 1}
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_json(file, {"a": 2})
    assert read_json(file) == {"a": 1}
    file.write_text("{")
    with pytest.raises(DataError, match=r"state\.json"):
        read_json(file)


def test_metrics_leave_out_a_torn_line_and_what_is_no_number(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "loss": 2.0, "kl": NaN}\n{"step": 2, "loss": 1.0, "kl": 0.1}\n{"step": 3, "lo')
    assert read_metrics(file) == {"loss": [(1, 2.0), (2, 1.0)], "kl": [(2, 0.1)]}
    assert read_metrics(tmp_path / "none.jsonl") == {}


def test_a_summary_has_the_promised_keys_only(tmp_path: Path) -> None:
    stage = {"stage": "sft", "seconds": 1.5, "eval": {"id": {"mixed": {**CELL, "invalid": 0.1, "categories": {}}}}}
    write_summary(tmp_path / "summary.json", [stage], "abc", {"python": "3.11"})
    content = json.loads((tmp_path / "summary.json").read_text())
    assert list(content["stages"][0]["eval"]["id"]["mixed"]) == list(CELL_KEYS)


def test_a_cell_becomes_metrics_and_rows_with_its_categories() -> None:
    category = {"episodes": 4, "tasks": 2, "success": 0.25, "ci95": [0.1, 0.6], "asr": 0.3, "ft": 0.5}
    cell = {**CELL, "categories": {"mine_block": category}}
    metrics = cell_metrics(cell)
    assert metrics["success"] == 0.5
    assert (metrics["ci95_low"], metrics["ci95_high"], metrics["share/gui"]) == (0.3, 0.7, 0.75)
    assert metrics["category/mine_block/ft"] == 0.5
    rows = cell_rows({"id": {"mixed": cell}, "ood": {"mixed": {**CELL, "shares": {"none": 1.0}}}})
    assert [(row["suite"], row["category"]) for row in rows] == [("id", "all"), ("id", "mine_block"), ("ood", "all")]
    assert len({tuple(row) for row in rows}) == 1, "one table has one set of columns"
    assert rows[1]["asr"] == 0.3
    assert rows[0]["share/none"] is None


def test_plots_are_drawn_from_files_and_are_the_same_each_time(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    rows = [{"step": n, "loss": 1 / n, "space/api/share": 0.1 * n, "space/gui/share": 1 - 0.1 * n} for n in range(1, 5)]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"stages": [{"stage": s, "eval": {"id": {"mixed": CELL, "api": CELL}}} for s in ("sft", "mtrl")]}
    for name in ("a", "b"):
        assert plots.plot_stage(metrics, tmp_path / name / "stage.png", "sft")
        assert plots.plot_stages(summary, {"id": {"api": CELL}}, tmp_path / name / "stages.png")
    for file in ("stage.png", "stages.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert (tmp_path / "a" / file).read_bytes().startswith(b"\x89PNG")


def test_nothing_is_drawn_from_nothing(tmp_path: Path) -> None:
    assert not plots.plot_stage(tmp_path / "none.jsonl", tmp_path / "stage.png", "sft")
    assert not plots.plot_stages({"stages": []}, {}, tmp_path / "stages.png")
    assert list(tmp_path.iterdir()) == []
