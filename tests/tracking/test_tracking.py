"""MLflow never stops a run, files appear whole, progress is readable off a terminal, plots come from files."""

from __future__ import annotations

import io
import json
import logging
import math
from pathlib import Path

import pytest

from crossagent.errors import DataError
from crossagent.tracking import plots, progress
from crossagent.tracking.files import read_json, read_metrics, write_json
from crossagent.tracking.mlflow import Tracker, flatten
from crossagent.tracking.progress import ProgressDisplay
from crossagent.tracking.summary import CELL_KEYS, write_summary

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


def test_mlflow_keeps_params_metrics_artifacts_and_nested_stages(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = Tracker(uri, "crossagent", "quick")
    tracker.start({"seed": 0, "sft": {"lr": 0.1}}, tmp_path / "artifacts", {"recipe_sha256": "abc"})
    tracker.log_metrics("sft", {"loss": 2.0, "broken": math.nan}, 1)
    tracker.log_metrics("sft", {"loss": 1.0}, 2)
    tracker.end("sft")
    tracker.log_metrics("", {"eval/id/mixed/success": 0.5}, 1)
    (tmp_path / "note.txt").write_text("x")
    tracker.log_artifact(tmp_path / "note.txt", "notes")

    again = Tracker(uri, "crossagent", "quick", tracker.run_ids)  # another process goes on
    again.start({"seed": 0})
    again.log_metrics("sft", {"loss": 0.5}, 3)
    again.end()

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("crossagent").experiment_id])
    assert len(runs) == 2
    parent, stage = client.get_run(tracker.run_ids[""]), client.get_run(tracker.run_ids["sft"])
    assert parent.data.params == {"seed": "0", "sft.lr": "0.1"}
    assert parent.data.metrics == {"eval/id/mixed/success": 0.5}
    assert parent.info.status == "FINISHED"
    assert stage.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert [(m.step, m.value) for m in client.get_metric_history(stage.info.run_id, "loss")] == [
        (1, 2),
        (2, 1),
        (3, 0.5),
    ]
    assert "broken" not in stage.data.metrics
    assert (tmp_path / "artifacts" / parent.info.run_id / "artifacts/notes/note.txt").read_text() == "x"


def test_mlflow_that_fails_warns_once_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    tracker = Tracker(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", "crossagent", "quick")
    with caplog.at_level(logging.WARNING):
        tracker.start({"seed": 0})
        tracker.log_metrics("sft", {"loss": 1.0}, 1)
        tracker.log_artifact(tmp_path / "file")
        tracker.end()
    assert len([record for record in caplog.records if "tracking is off" in record.message]) == 1


def test_without_a_uri_mlflow_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)  # importing it would raise
    tracker = Tracker("", "crossagent", "quick")
    tracker.start({"seed": 0})
    tracker.log_metrics("sft", {"loss": 1.0}, 1)
    assert tracker.run_ids == {}


def test_flatten_keeps_lists_and_empty_mappings() -> None:
    assert flatten({"a": {"b": [1, 2], "c": {}}, "d": None}) == {"a.b": [1, 2], "a.c": {}, "d": None}


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


def test_progress_off_a_terminal_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    out = io.StringIO()
    with ProgressDisplay(out) as display, display.task("sft", 8) as bar:
        for done in range(1, 9):
            bar.update(done, {"train/loss": 1 / done})
    lines = out.getvalue().splitlines()
    assert lines == ["sft: 3/8  18 s  loss 0.333", "sft: 6/8  36 s  loss 0.167"]


def test_progress_on_a_terminal_is_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with ProgressDisplay(out) as display, display.task("sft", 2) as bar:
        bar.update(1, {"loss": 0.5})
        display.line("a line above the bar")
        bar.update(4, {"loss": 0.25}, total=4)
        display._bars.refresh()
    assert "a line above the bar" in out.getvalue()
    assert "4/4" in out.getvalue()


def test_a_summary_has_the_promised_keys_only(tmp_path: Path) -> None:
    stage = {"stage": "sft", "seconds": 1.5, "eval": {"id": {"mixed": {**CELL, "invalid": 0.1, "categories": {}}}}}
    write_summary(tmp_path / "summary.json", [stage], "abc", {"python": "3.11"})
    content = json.loads((tmp_path / "summary.json").read_text())
    assert list(content["stages"][0]["eval"]["id"]["mixed"]) == list(CELL_KEYS)


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
