"""Records of a spool, applied to an MLflow server. Applying one twice is the same as once.

Metrics carry the time they were logged at, and MLflow keeps a point (key, step, time, value) once; runs are found again by a tag,
traces have ids that follow from their place. So whatever was cut off in the middle can simply be sent again.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossagent.tracking.mlflow import traces
from crossagent.tracking.mlflow.outbox import Record, Sent, Spool

RECORDS_A_STEP, METRICS_A_CALL, PARAMS_A_CALL = 100, 1000, 100
"""Records of metrics that are sent together; MLflow's own limits of one ``log_batch``."""
KEY_TAG = "crossagent.run_key"
_KEY_LIMIT, _VALUE_LIMIT = 250, 6000
_FOR_GOOD = {
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_STATE",
    "NOT_IMPLEMENTED",
}
"""MLflow's answers that sending again does not change."""


def import_mlflow() -> None:
    """Import MLflow as we use it: without telemetry, without chatter, and failing soon, as we try again ourselves."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings(
        "ignore", category=DeprecationWarning, module=r"mlflow\."
    )  # between MLflow and its libraries
    import mlflow.tracking  # noqa: F401

    for noisy in ("alembic", "mlflow", "mlflow.store.db.utils"):  # a new file's migrations are nobody's news
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # one warning per retry; we warn once


class Sink:
    """An MLflow target and what it has. Any method may raise; :func:`for_good` says whether trying again is of use."""

    def __init__(self, uri: str, spool: Spool) -> None:
        """Prepare; the server is asked nothing before the first record."""
        self._uri, self._spool = uri, spool
        self.sent: Sent = spool.sent(uri)
        self._client: Any = None
        self._experiments: dict[str, str] = {}

    def apply(self, records: Sequence[Record]) -> None:
        """Send records in order, and remember after each step how far that went. What is refused for good is set aside."""
        i = 0
        while i < len(records):
            j = i
            while j < len(records) and records[j].content["op"] == "metrics" and j - i < RECORDS_A_STEP:
                j += 1
            part = records[i : max(j, i + 1)]
            try:
                self._metrics(part) if j > i else self._one(part[0])
            except Exception as error:
                if len(part) > 1 and for_good(error):
                    for record in part:  # one of them is at fault; the others must not suffer
                        self.apply([record])
                    i += len(part)
                    continue
                if part[0].content["op"] == "run" or not for_good(error):
                    raise
                self._spool.reject(part[0], f"{type(error).__name__}: {error}")
                self.sent.rejected += 1
            i += len(part)
            self.sent.offset = part[-1].end
            self._spool.keep_sent(self._uri, self.sent)

    # -- one record ----------------------------------------------------------------------------------------------
    @property
    def client(self) -> Any:
        """MLflow's client, made when it is first needed: that opens, and may have to make, a database."""
        if self._client is None:
            import_mlflow()
            from mlflow.tracking import MlflowClient

            folder = Path(self._uri.removeprefix("sqlite:///")).parent
            if self._uri.startswith("sqlite:///") and folder != self._spool.base:
                folder.mkdir(parents=True, exist_ok=True)
            self._client = MlflowClient(tracking_uri=self._uri)
        return self._client

    def _one(self, record: Record) -> None:
        content = record.content
        getattr(self, f"_{content['op']}")(content)

    def _metrics(self, records: Sequence[Record]) -> None:
        from mlflow.entities import Metric

        points: dict[str, list[Any]] = {}
        for record in records:
            content = record.content
            points.setdefault(content["run"], []).extend(
                Metric(_key(name), value, content["t"], content["step"]) for name, value in content["values"].items()
            )
        for run, metrics in points.items():
            for i in range(0, len(metrics), METRICS_A_CALL):
                self.client.log_batch(self._id(run), metrics=metrics[i : i + METRICS_A_CALL])

    def _run(self, content: dict[str, Any]) -> None:
        """Make a run, or find the one that an attempt made whose answer never came."""
        name = content["run"]
        if name not in self.sent.runs:
            experiment = self._experiment(content["experiment"], content.get("artifacts"))
            found = self.client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{content['key']}'", max_results=1)
            if found:
                self.sent.runs[name] = found[0].info.run_id
            else:
                tags = {KEY_TAG: content["key"], **content.get("tags", {})}
                if content.get("parent") is not None:
                    tags["mlflow.parentRunId"] = self._id(content["parent"])
                run = self.client.create_run(
                    experiment,
                    run_name=content["name"],
                    start_time=content["t"],
                    tags={k: v[:5000] for k, v in tags.items()},
                )
                self.sent.runs[name] = run.info.run_id
        self._params({"run": name, "values": content.get("params", {})})

    def _params(self, content: dict[str, Any]) -> None:
        from mlflow.entities import Param

        flat = [Param(_key(k), str(v)[:_VALUE_LIMIT]) for k, v in content["values"].items()]
        for i in range(0, len(flat), PARAMS_A_CALL):
            self.client.log_batch(self._id(content["run"]), params=flat[i : i + PARAMS_A_CALL])

    def _status(self, content: dict[str, Any]) -> None:
        if content["status"] == "RUNNING":
            self.client.update_run(self._id(content["run"]), status="RUNNING")
        else:
            self.client.set_terminated(self._id(content["run"]), content["status"], end_time=content["t"])

    def _artifact(self, content: dict[str, Any]) -> None:
        path = self._spool.base / content["path"]
        send = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        send(self._id(content["run"]), str(path), content["folder"] or None)

    def _table(self, content: dict[str, Any]) -> None:
        run, file = self._id(content["run"]), content["file"]
        if all(found.path != file for found in self.client.list_artifacts(run)):  # MLflow would append to it
            columns = {name: [row.get(name) for row in content["rows"]] for name in content["rows"][0]}
            self.client.log_table(run, columns, file)

    def _dataset(self, content: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        path = (self._spool.base / content["path"]).resolve()
        data = Dataset(
            name=content["name"],
            digest=content["digest"],
            source_type="local",
            source=json.dumps({"uri": str(path)}),
            profile=json.dumps(content["profile"]),
        )
        tags = [InputTag("mlflow.data.context", content["context"])]
        self.client.log_inputs(self._id(content["run"]), [DatasetInput(data, tags)])

    def _traces(self, content: dict[str, Any]) -> None:
        """Send the trajectories of a parquet file; see :mod:`crossagent.tracking.mlflow.traces`."""
        from mlflow.entities import (
            AssessmentSource,
            Feedback,
            Span,
            TraceInfo,
            TraceLocation,
            TraceState,
        )
        from mlflow.tracing.client import TracingClient

        from crossagent.rollout.store import load_trajectories

        run, client = self._id(content["run"]), TracingClient(self._uri)
        experiment = self.client.get_run(run).info.experiment_id
        source = AssessmentSource(source_type="CODE", source_id="crossagent")
        infos, spans = [], []
        for row, trajectory in enumerate(load_trajectories(self._spool.base / content["path"])):
            identity = traces.trace_id(run, content["path"], row)
            made = traces.spans(trajectory, identity, content["t"] * 1_000_000)
            spans += [Span.from_dict(span) for span in made]
            root = made[0]
            judged: list[Any] = []
            for name, value, rationale in traces.feedback(trajectory, content["weights"]):
                feedback = Feedback(name, value, source=source, trace_id=identity, rationale=rationale)
                feedback.assessment_id = f"a-{identity[3:]}-{name}"  # sent twice, it is one
                judged.append(feedback)
            infos.append(
                TraceInfo(
                    trace_id=identity,
                    trace_location=TraceLocation.from_experiment_id(experiment),
                    request_time=content["t"],
                    execution_duration=(root["end_time_unix_nano"] - root["start_time_unix_nano"]) // 1_000_000,
                    state=TraceState.ERROR if trajectory.failure else TraceState.OK,
                    request_preview=f"{trajectory.task} · {', '.join(trajectory.spaces)}",
                    response_preview=f"{'success' if trajectory.success else 'no success'} · {trajectory.stop_reason.value}",
                    trace_metadata={
                        "mlflow.sourceRun": run,
                        "mlflow.traceInputs": root["attributes"]["mlflow.spanInputs"],
                        "mlflow.traceOutputs": root["attributes"]["mlflow.spanOutputs"],
                    },
                    tags={"mlflow.traceName": trajectory.task, **content["tags"]},
                    assessments=judged,
                )
            )
        client.log_spans(experiment, spans)
        for info in infos:
            client.start_trace(info)

    # -- ids -----------------------------------------------------------------------------------------------------
    def _id(self, run: str) -> str:
        return self.sent.runs[run]

    def _experiment(self, name: str, artifacts: str | None) -> str:
        if name not in self._experiments:
            found = self.client.get_experiment_by_name(name)
            location = Path(artifacts).resolve().as_uri() if artifacts else None
            self._experiments[name] = (
                found.experiment_id if found else self.client.create_experiment(name, artifact_location=location)
            )
        return self._experiments[name]


def for_good(error: Exception) -> bool:
    """Return whether an error will be the same when the record is sent again."""
    code = getattr(error, "error_code", None)
    if code is not None:
        return code in _FOR_GOOD
    away = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)  # requests' errors are OSErrors
    return not away and not type(error).__module__.startswith("sqlalchemy")


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)[:_KEY_LIMIT]
