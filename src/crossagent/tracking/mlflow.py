"""MLflow, by run id and without global state. Tracking never stops a training: the first fault warns and switches off.

The default store is a SQLite file inside the run directory; the file store is refused by MLflow ≥ 3.
"""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
_KEY_LIMIT, _VALUE_LIMIT, _BATCH_LIMIT = 250, 6000, 100


class Tracker:
    """One MLflow run and the runs of its stages. Every method is safe to call when MLflow is off or has failed."""

    def __init__(self, uri: str, experiment: str, run_name: str, run_ids: dict[str, str] | None = None) -> None:
        """Prepare; nothing is opened before :meth:`start`.

        Args:
            uri: Tracking URI, e.g. ``sqlite:///runs/quickstart/mlflow.db``.
            experiment: MLflow experiment, made when it does not exist.
            run_name: Name of the parent run.
            run_ids: Ids from an earlier, interrupted process (``""`` is the parent's key); such runs go on.
        """
        self._uri, self._experiment, self._run_name = uri, experiment, run_name
        self.run_ids: dict[str, str] = dict(run_ids or {})
        self._client: Any = None
        self._experiment_id = ""
        self._failed = False

    def start(
        self, params: Mapping[str, Any], artifacts: Path | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Open or continue the parent run; ``params`` are flattened, ``artifacts`` is where files of a new one go."""
        self._guard(lambda: self._start(params, artifacts, dict(tags or {})))

    def log_metrics(self, stage: str, metrics: Mapping[str, float], step: int) -> None:
        """Log finite numbers to a stage's nested run (``""``: the parent)."""
        self._guard(lambda: self._log_metrics(stage, metrics, step))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Copy a file into the artifacts of the parent run."""
        self._guard(lambda: self._client.log_artifact(self._run(""), str(path), folder or None))

    def end(self, stage: str = "", status: str = "FINISHED") -> None:
        """Close a stage's run, or the parent; ``status`` as MLflow has it: FINISHED, FAILED, KILLED."""
        self._guard(lambda: self._client.set_terminated(self._run(stage), status))

    # -- the unguarded half --------------------------------------------------------------------------------------
    def _guard(self, do: Callable[[], Any]) -> None:
        if self._failed or (self._client is None and not self._uri):
            return
        try:
            if self._client is None:
                self._open()
            do()
        except Exception as error:
            self._failed = True
            log.warning("MLflow tracking is off from here on (%s: %s); the run goes on", type(error).__name__, error)

    def _open(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        from mlflow.tracking import MlflowClient

        for noisy in ("alembic", "mlflow", "mlflow.store.db.utils"):  # a new file's migrations are nobody's news
            logging.getLogger(noisy).setLevel(logging.WARNING)
        if self._uri.startswith("sqlite:///"):
            Path(self._uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(tracking_uri=self._uri)

    def _start(self, params: Mapping[str, Any], artifacts: Path | None, tags: dict[str, str]) -> None:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            self._experiment_id = found.experiment_id
        else:
            location = artifacts.resolve().as_uri() if artifacts else None
            self._experiment_id = self._client.create_experiment(self._experiment, artifact_location=location)
        run_id = self.run_ids.get("")
        if run_id:
            self._client.update_run(run_id, status="RUNNING")
            return
        run = self._client.create_run(self._experiment_id, run_name=self._run_name, tags=tags)
        self.run_ids[""] = run.info.run_id
        from mlflow.entities import Param

        flat = [Param(_key(k), str(v)[:_VALUE_LIMIT]) for k, v in flatten(params).items()]
        for i in range(0, len(flat), _BATCH_LIMIT):
            self._client.log_batch(run.info.run_id, params=flat[i : i + _BATCH_LIMIT])

    def _run(self, stage: str) -> str:
        if stage not in self.run_ids:
            parent = {"mlflow.parentRunId": self.run_ids[""]}
            run = self._client.create_run(self._experiment_id, run_name=f"{self._run_name}/{stage}", tags=parent)
            self.run_ids[stage] = run.info.run_id
        return self.run_ids[stage]

    def _log_metrics(self, stage: str, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(_key(k), float(v), now, step) for k, v in metrics.items() if _is_finite(v)]
        for i in range(0, len(points), 1000):
            self._client.log_batch(self._run(stage), metrics=points[i : i + 1000])


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one of dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)[:_KEY_LIMIT]


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
