"""MLflow's own system metrics (processor, memory, disk, network, GPU), sampled into the spool instead of sent on the spot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)


def start_monitor(log_metrics: Callable[[Mapping[str, float], int], None], interval_s: float, first_step: int) -> Any:
    """Start sampling in a thread; returns a monitor whose ``finish()`` ends it. None where MLflow cannot sample here.

    Args:
        log_metrics: Gets name → value, and the sample's number.
        interval_s: Seconds between samples.
        first_step: Number of the first sample: a continued run counts on.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    class Monitor(SystemMetricsMonitor):
        """MLflow's monitor; its loop asks the server whether the run still runs, ours asks nobody."""

        def monitor(self) -> None:
            step = first_step
            while not self._shutdown_event.wait(self.sampling_interval):
                self.collect_metrics()  # type: ignore[no-untyped-call]
                means = self.aggregate_metrics()  # type: ignore[no-untyped-call]
                log_metrics({f"{self._metrics_prefix}{name}": value for name, value in means.items()}, step)
                step += 1
                for part in self.monitors:
                    part.clear_metrics()

        def finish(self) -> None:
            self._shutdown_event.set()
            if self._process is not None:
                self._process.join()

    try:
        monitor = Monitor("", sampling_interval=interval_s)  # type: ignore[no-untyped-call]
        monitor.start()  # type: ignore[no-untyped-call]
    except Exception as error:  # an odd machine has no processor load for us: no reason to stop
        log.warning("no system metrics (%s: %s)", type(error).__name__, error)
        return None
    return monitor
