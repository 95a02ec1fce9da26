"""MLflow, by run id and without global state. Tracking never stops a run, and never makes it wait.

Whatever is logged is a line in the run's spool at once; a thread sends the spool to the server, tries again for as long as the
server is away, and says so once. What a process could not send, the next one does (``crossagent run``, ``crossagent sync``).
The default target is a SQLite file inside the run directory; the file store is refused by MLflow ≥ 3.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossagent.rollout.store import images_file, save_trajectories
from crossagent.tracking.mlflow import traces
from crossagent.tracking.mlflow.outbox import FOLDER, Spool, redacted
from crossagent.tracking.mlflow.sender import SYNC, Sender
from crossagent.tracking.mlflow.writer import import_mlflow
from crossagent.types import Trajectory

log = logging.getLogger(__name__)


def tracking_uri(chosen: str | None, directory: Path | None) -> str:
    """Return where to log: the recipe's URI, else MLFLOW_TRACKING_URI, else a SQLite file in the run directory."""
    return chosen or os.environ.get("MLFLOW_TRACKING_URI") or (_own(directory) if directory else "")


def _own(directory: Path) -> str:
    return f"sqlite:///{directory / 'mlflow.db'}"


class Tracker:
    """The MLflow run of one recipe and those of its stages. No method waits for a server, or raises because of one."""

    def __init__(self, uri: str, experiment: str, run_name: str, directory: Path) -> None:
        """Prepare; nothing is written or sent before :meth:`start`.

        Args:
            uri: Tracking URI, e.g. ``sqlite:///runs/quickstart/mlflow.db``; empty: every method does nothing.
            experiment: MLflow experiment, made when it does not exist.
            run_name: Name of the parent run.
            directory: The run's; the spool lies in it. What an earlier process logged there goes on.
        """
        self._uri, self._experiment, self._name, self._directory = uri, experiment, run_name, directory
        self._spool = Spool(directory / FOLDER)
        self._thread: Sender | None = None
        self._monitor: Any = None
        self._declared: set[str] = set()
        self._running: set[str] = set()
        self._last: dict[tuple[str, str], int] = {}
        self._once: set[tuple[str, str, str]] = set()

    def start(
        self, params: Mapping[str, Any], tags: Mapping[str, str] | None = None, system_metrics_s: float = 0
    ) -> None:
        """Begin or continue the parent run, and begin to send.

        Args:
            params: Flattened; of a run that begins.
            tags: Of a run that begins.
            system_metrics_s: Seconds between samples of MLflow's system metrics (processor, memory, disk, network, GPU); 0: none.
        """
        if not self._uri:
            return
        self._recall()
        self.begin("", self._name, params, tags)
        import_mlflow()  # here, as a thread that imports beside one that imports may meet half a module
        if system_metrics_s:
            from crossagent.tracking.mlflow.system import start_monitor

            first = max((step for (_, key), step in self._last.items() if key.startswith("system/")), default=-1) + 1
            self._monitor = start_monitor(
                lambda values, step: self.log_metrics("", values, step), system_metrics_s, first
            )
        self._thread = Sender(self._uri, self._spool)
        self._thread.start()

    def resume(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Add to the parent run what comes later, an evaluation say, without opening it again; begin it where there is none."""
        if not self._uri:
            return
        self._recall()
        if "" not in self._declared:
            self.begin("", self._name, params, tags)
            self.end()
        import_mlflow()
        self._thread = Sender(self._uri, self._spool)
        self._thread.start()

    def begin(
        self,
        run: str,
        name: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Begin a nested run (``""``: the parent), or go on with it."""
        if not self._uri:
            return
        self._running.add(run)
        if run in self._declared:
            self._spool.append("status", run, status="RUNNING")
            return
        self._declared.add(run)
        flat = {key: _text(key, value) for key, value in flatten(params or {}).items()}
        self._spool.append(
            "run",
            run,
            key=uuid.uuid4().hex,
            name=name or f"{self._name}/{run}",
            parent="" if run else None,
            experiment=self._experiment,
            artifacts=str(self._directory / "mlflow-artifacts") if self._uri == _own(self._directory) else None,
            params=flat,
            tags=dict(tags or {}),
        )

    def log_metrics(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Log finite numbers to a nested run (``""``: the parent). A step that was logged already, before the process was
        stopped and resumed, is not logged twice.
        """
        if not self._uri:
            return
        values = {}
        for name, value in metrics.items():
            if name != "step" and _is_finite(value) and self._last.get((run, name), -1) < step:
                self._last[run, name] = step
                values[name] = float(value)
        if values:
            self._spool.append("metrics", run, step=step, values=values)

    def log_artifact(self, path: Path, folder: str = "", run: str = "") -> None:
        """Send a file, or what a directory holds, as it is when its turn comes; ``path`` lies in the run directory."""
        if self._uri:
            self._spool.append("artifact", run, path=os.path.relpath(path, self._directory), folder=folder)

    def log_table(self, file: str, rows: Sequence[Mapping[str, Any]], run: str = "") -> None:
        """Log rows as a table of MLflow's evaluation view."""
        if self._uri and rows and self._first("table", run, file):
            self._spool.append("table", run, file=file, rows=[dict(row) for row in rows])

    def log_dataset(self, path: Path, name: str, context: str, profile: Mapping[str, Any], run: str = "") -> None:
        """Log a file of the run directory as an input; its digest is that of its content."""
        if self._uri and self._first("dataset", run, f"{name}/{context}"):
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
            where = os.path.relpath(path, self._directory)
            self._spool.append(
                "dataset", run, path=where, name=name, digest=digest, context=context, profile=dict(profile)
            )

    def log_trajectories(
        self,
        trajectories: Sequence[Trajectory],
        name: str,
        weights: Mapping[str, float],
        tags: Mapping[str, str],
        count: int,
        run: str = "",
    ) -> None:
        """Log a sample of trajectories, as a parquet artifact and as traces with success and return as feedback.

        Args:
            trajectories: To choose from.
            name: Of the file, without its ending; unique in the run directory.
            weights: λ per space.
            tags: Of the traces.
            count: How many, at most.
            run: Where they belong.
        """
        if not self._uri or not count or not trajectories or not self._first("traces", run, f"{name}.parquet"):
            return
        path = self._spool.directory / "samples" / f"{name}.parquet"
        save_trajectories(path, [trajectories[i] for i in traces.sample(trajectories, count)], dict(tags))
        where = os.path.relpath(path, self._directory)
        self._spool.append("artifact", run, path=where, folder="trajectories")
        if images_file(path).is_file():
            images = os.path.relpath(images_file(path), self._directory)
            self._spool.append("artifact", run, path=images, folder="trajectories")
        self._spool.append("traces", run, path=where, weights=dict(weights), tags=dict(tags))

    def end(self, run: str = "", status: str = "FINISHED") -> None:
        """Close a run, the parent with those nested in it; ``status`` as MLflow has it: FINISHED, FAILED, KILLED."""
        for closed in [run] if run else [*sorted(self._running - {""}), ""]:
            if closed in self._declared:
                self._running.discard(closed)
                self._spool.append("status", closed, status=status)

    def close(self, patience_s: float | None = None) -> int:
        """Send what is left, as long as that gets on, and stop. Returns how many records could not be sent.

        A server has 15 s between two answers; a database file, which may have to be made first, two minutes.
        """
        if patience_s is None:
            patience_s = 120.0 if self._uri.startswith("sqlite:") else 15.0
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
        if self._thread is None:
            return 0
        self._thread.finish(patience_s)
        self._thread = None
        self._spool.close()
        left = self._spool.pending(self._uri)
        if left and patience_s > 0:
            log.warning(
                "%d records are not yet in MLflow (%s); `%s %s`, or the next run of this recipe, sends them",
                left,
                redacted(self._uri),
                SYNC,
                self._directory,
            )
        return left

    def _first(self, op: str, run: str, name: str) -> bool:
        """Return whether this is new: a stage that was stopped and begins anew logs some things again."""
        key = (op, run, name)
        if key in self._once:
            return False
        self._once.add(key)
        return True

    def _recall(self) -> None:
        """Learn from the spool what an earlier process has logged."""
        for record in self._spool.records():
            content = record.content
            op, run = content["op"], content["run"]
            if op == "run":
                self._declared.add(run)
                self._running.add(run)
            elif op == "status":
                (self._running.add if content["status"] == "RUNNING" else self._running.discard)(run)
            elif op == "metrics":
                for name in content["values"]:
                    self._last[run, name] = max(content["step"], self._last.get((run, name), -1))
            elif op == "table":
                self._once.add((op, run, content["file"]))
            elif op == "traces":
                self._once.add((op, run, Path(content["path"]).name))
            elif op == "dataset":
                self._once.add((op, run, f"{content['name']}/{content['context']}"))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one of dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _text(key: str, value: Any) -> str:
    return redacted(str(value)) if key.endswith("uri") and value else str(value)


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
