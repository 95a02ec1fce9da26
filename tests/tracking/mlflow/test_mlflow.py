"""MLflow gets everything exactly once, whatever happens to the server or to us, and nobody waits for it."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tracking_kit import EVENT, FakeMlflow, trajectory, turn

from crossagent.tracking.mlflow.outbox import Spool
from crossagent.tracking.mlflow.sender import sync
from crossagent.tracking.mlflow.tracker import Tracker, flatten, tracking_uri

URI = "http://127.0.0.1:1/mlflow"


def points(server: FakeMlflow, run: str, name: str) -> list[tuple[int, float]]:
    return [(step, value) for key, step, value, _ in server.named(run)["points"] if key == name]


def started(tmp_path: Path, params: dict[str, Any] | None = None) -> Tracker:
    tracker = Tracker(URI, "crossagent", "quick", tmp_path)
    tracker.start(params or {"seed": 0}, {"recipe_sha256": "abc"})
    return tracker


def test_runs_nest_and_hold_parameters_metrics_and_status(tmp_path: Path, server: FakeMlflow) -> None:
    tracker = started(tmp_path, {"seed": 0, "tracking": {"uri": "https://me:secret@host/"}, "sft": {"lr": 0.1}})
    tracker.begin("sft", params={"lr": 0.1})
    tracker.log_metrics("sft", {"step": 1, "loss": 2.0, "space/api/share": 0.5, "broken": math.nan}, 1)
    tracker.end("sft")
    tracker.end()
    assert tracker.close() == 0
    parent, stage = server.named("quick"), server.named("quick/sft")
    assert parent["params"] == {"seed": "0", "tracking.uri": "https://host/", "sft.lr": "0.1"}
    assert stage["tags"]["mlflow.parentRunId"] in server.runs
    assert {key for key, *_ in stage["points"]} == {"loss", "space/api/share"}, (
        "no number, no point; the step is no metric"
    )
    assert parent["status"] == stage["status"] == "FINISHED"


def test_a_server_that_is_away_costs_one_warning_and_nothing_else(
    tmp_path: Path, server: FakeMlflow, caplog: pytest.LogCaptureFixture
) -> None:
    away = True

    def fault(name: str) -> None:
        if away:
            raise ConnectionError("refused")

    server.fault = fault
    begun = time.monotonic()
    tracker = started(tmp_path)
    for step in range(50):
        tracker.log_metrics("", {"loss": 1 / (step + 1)}, step)
    assert time.monotonic() - begun < 5
    while len(server.calls) < 4:
        time.sleep(0.01)
    away = False
    tracker.end()
    assert tracker.close() == 0
    assert points(server, "quick", "loss") == [(step, 1 / (step + 1)) for step in range(50)]
    assert len([r for r in caplog.records if "does not answer" in r.message]) == 1


def test_a_server_that_hangs_holds_nothing_up(
    tmp_path: Path, server: FakeMlflow, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = threading.Event()
    server.fault = lambda name: hanging.wait(30) and None
    tracker = started(tmp_path)
    begun = time.monotonic()
    tracker.log_metrics("", {"loss": 1.0}, 1)
    assert time.monotonic() - begun < 1
    assert tracker.close(patience_s=0.2) > 0
    assert time.monotonic() - begun < 5
    assert "crossagent sync" in caplog.text
    hanging.set()


@pytest.mark.parametrize("call", ["create_experiment", "create_run", "log_batch", "set_terminated"])
def test_an_answer_that_never_came_does_not_double_anything(tmp_path: Path, server: FakeMlflow, call: str) -> None:
    """The server did it, and the connection broke: the record is sent again."""
    broken = []

    def fault(name: str) -> None:
        if name == call and len(broken) < 2:
            broken.append(name)
            raise ConnectionError("reset by peer")

    server.fault = fault
    tracker = started(tmp_path)
    tracker.log_metrics("", {"loss": 1.0}, 1)
    tracker.end()
    assert tracker.close() == 0
    assert broken
    assert len(server.runs) == 1
    assert points(server, "quick", "loss") == [(1, 1.0)]


def test_what_one_process_could_not_send_the_next_one_does(tmp_path: Path, server: FakeMlflow) -> None:
    server.fault = lambda name: (_ for _ in ()).throw(ConnectionError("refused"))
    tracker = started(tmp_path)
    tracker.log_metrics("", {"loss": 1.0}, 1)
    assert tracker.close(patience_s=0.1) == 2
    assert not server.runs
    before = int(time.time() * 1000)
    time.sleep(0.01)
    server.fault = lambda name: None
    assert sync(tmp_path, URI) == (2, 0)
    assert server.named("quick")["points"][0][3] <= before, "the time is that of logging, not of sending"
    assert sync(tmp_path, URI) == (0, 0)
    assert sync(tmp_path, "http://another") == (2, 0), "another target gets the whole run"
    assert len(server.runs) == 1, "found again by its key"


def test_a_resumed_run_goes_on_in_the_same_runs_and_repeats_no_step(tmp_path: Path, server: FakeMlflow) -> None:
    """A stage that was killed plays the steps after its resume point again; MLflow has them already."""
    tracker = started(tmp_path)
    tracker.begin("sft")
    for step in (1, 2, 3):
        tracker.log_metrics("sft", {"loss": 1 / step}, step)
    tracker.end(status="KILLED")
    tracker.close()
    assert {run["status"] for run in server.runs.values()} == {"KILLED"}, "the stage was stopped with its run"
    again = started(tmp_path)
    again.begin("sft")
    for step in (2, 3, 4):
        again.log_metrics("sft", {"loss": 1 / step}, step)
    again.end()
    again.close()
    assert points(server, "quick/sft", "loss") == [(s, 1 / s) for s in (1, 2, 3, 4)]
    assert len(server.runs) == 2
    assert {run["status"] for run in server.runs.values()} == {"FINISHED"}


def test_a_record_that_the_server_refuses_is_kept_with_the_reason_and_stops_no_other(
    tmp_path: Path, server: FakeMlflow, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow.exceptions import MlflowException

    log_batch = server.log_batch

    def refuse(run_id: str, metrics: Any = (), params: Any = ()) -> None:
        if any(point.key == "bad" for point in metrics):
            raise MlflowException.invalid_parameter_value("no such metric")
        log_batch(run_id, metrics, params)

    server.log_batch = refuse  # type: ignore[method-assign]
    tracker = started(tmp_path)
    tracker.log_metrics("", {"loss": 1.0}, 1)
    tracker.log_metrics("", {"bad": 1.0}, 1)
    tracker.log_metrics("", {"loss": 2.0}, 2)
    tracker.log_artifact(tmp_path / "gone.txt")
    tracker.end()
    assert tracker.close() == 0
    assert points(server, "quick", "loss") == [(1, 1.0), (2, 2.0)]
    refused = [json.loads(line) for line in (tmp_path / "tracking/rejected.jsonl").read_text().splitlines()]
    assert [r["op"] for r in refused] == ["metrics", "artifact"]
    assert "no such metric" in refused[0]["reason"]
    assert "rejected.jsonl" in caplog.text


def test_while_one_process_sends_the_other_only_writes(tmp_path: Path, server: FakeMlflow) -> None:
    training, evaluating = started(tmp_path), Tracker(URI, "crossagent", "quick", tmp_path)
    evaluating.resume({}, {})
    evaluating.begin("eval-1")
    evaluating.log_metrics("eval-1", {"success": 0.5}, 0)
    evaluating.end("eval-1")
    assert evaluating.close() == 0, "the training process has sent it"
    training.log_metrics("", {"loss": 1.0}, 1)
    training.end()
    assert training.close() == 0
    assert points(server, "quick/eval-1", "success") == [(0, 0.5)]
    assert len(server.runs) == 2


def test_without_a_uri_nothing_is_written_and_mlflow_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)  # importing it would raise
    tracker = Tracker("", "crossagent", "quick", tmp_path)
    tracker.start({"seed": 0})
    tracker.begin("sft")
    tracker.log_metrics("sft", {"loss": 1.0}, 1)
    tracker.log_trajectories([trajectory()], "sample", {}, {}, 3)
    tracker.end()
    assert tracker.close() == 0
    assert list(tmp_path.iterdir()) == []


def test_the_uri_is_the_recipes_then_the_environments_then_a_file_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri(None, None) == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host")
    assert tracking_uri(None, tmp_path) == "http://host"
    assert tracking_uri("http://recipe", tmp_path) == "http://recipe"


def test_flatten_keeps_lists_and_empty_mappings() -> None:
    assert flatten({"a": {"b": [1, 2], "c": {}}, "d": None}) == {"a.b": [1, 2], "a.c": {}, "d": None}


def test_a_real_store_holds_tables_data_sets_system_metrics_artifacts_and_traces(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow itself, on SQLite; everything is then sent a second time from the first byte, and nothing changes."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = Tracker(uri, "crossagent", "quick", tmp_path)
    tracker.start({"seed": 0}, {"git.dirty": "false"}, system_metrics_s=0.05)
    tracker.begin("mtrl", params={"lr": 0.1})
    tracker.log_metrics("mtrl", {"rollout/success": 0.5}, 1)
    tracker.log_table("evaluation.json", [{"suite": "id", "success": 0.5}, {"suite": "ood", "success": 0.25}], "mtrl")
    (tmp_path / "demonstrations.parquet").write_bytes(b"rows")
    tracker.log_dataset(tmp_path / "demonstrations.parquet", "demonstrations", "training", {"num_rows": 3}, "mtrl")
    played = [
        trajectory(turn(events=(EVENT,)), turn("gui", "Gui: click(<b>)", error="no <b> in sight")),
        trajectory(success=False),
        trajectory(),
    ]
    tracker.log_trajectories(played, "mtrl-id", {"api": 0.1}, {"stage": "mtrl", "suite": "id"}, 2, run="mtrl")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/README.md").write_text("card")
    tracker.log_artifact(tmp_path / "model", "model")
    time.sleep(0.3)
    tracker.end("mtrl")
    tracker.end()
    assert tracker.close() == 0, caplog.text

    from mlflow import MlflowClient
    from mlflow.tracing.client import TracingClient

    client = MlflowClient(tracking_uri=uri)

    def look() -> dict[str, Any]:
        runs = {r.info.run_name: r for r in client.search_runs(["1"])}
        parent, stage = runs["quick"], runs["quick/mtrl"]
        traces = TracingClient(uri).search_traces(locations=["1"])
        return {
            "runs": len(runs),
            "parent": stage.data.tags["mlflow.parentRunId"] == parent.info.run_id,
            "status": {r.info.status for r in runs.values()},
            "params": (parent.data.params, stage.data.params),
            "history": [(m.step, m.value) for m in client.get_metric_history(stage.info.run_id, "rollout/success")],
            "system": len(client.get_metric_history(parent.info.run_id, "system/cpu_utilization_percentage")) > 0,
            "table": (tmp_path / "mlflow-artifacts" / stage.info.run_id / "artifacts/evaluation.json").read_text(),
            "input": [(i.dataset.name, i.dataset.source_type, i.tags[0].value) for i in stage.inputs.dataset_inputs],
            "artifacts": [a.path for a in client.list_artifacts(parent.info.run_id, "model")],
            "sample": [a.path for a in client.list_artifacts(stage.info.run_id, "trajectories")],
            "traces": sorted(
                (
                    [(s.name, s.span_type) for s in t.data.spans],
                    {a.name: a.value for a in t.info.assessments},
                    t.info.trace_metadata["mlflow.sourceRun"] == stage.info.run_id,
                    t.info.tags["suite"],
                )
                for t in traces
            )
            if all(len(t.info.assessments) == 2 for t in traces)
            else "assessments doubled",
        }

    seen = look()
    assert seen["runs"] == 2
    assert seen["parent"]
    assert seen["status"] == {"FINISHED"}
    assert seen["params"] == ({"seed": "0"}, {"lr": "0.1"})
    assert seen["history"] == [(1, 0.5)]
    assert seen["system"]
    assert json.loads(seen["table"])["data"] == [["id", 0.5], ["ood", 0.25]]
    assert seen["input"] == [("demonstrations", "local", "training")]
    assert seen["artifacts"] == ["model/README.md"]
    assert seen["sample"] == ["trajectories/mtrl-id.parquet"]
    kinds = [("generate", "LLM"), ("execute", "TOOL")]
    root = ("mine_block:oak_log", "AGENT")
    one, two = [root, ("turn 1", "CHAIN"), *kinds], [root, ("turn 1", "CHAIN"), *kinds, ("turn 2", "CHAIN"), *kinds]
    assert [t[0] for t in seen["traces"]] == [one, two]
    assert [t[1]["success"] for t in seen["traces"]] == [False, True]
    assert seen["traces"][1][1]["return"] == pytest.approx(0.9)
    assert all(t[2] and t[3] == "id" for t in seen["traces"])

    (tmp_path / "tracking/sent.json").unlink()
    before = Spool(tmp_path / "tracking").pending(uri)
    with caplog.at_level(logging.WARNING):
        assert sync(tmp_path, uri) == (before, 0)
    assert look() == seen
    assert not (tmp_path / "tracking/rejected.jsonl").exists()
