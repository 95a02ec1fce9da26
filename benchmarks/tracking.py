"""What tracking costs: its CPU-seconds per training step against the step's own, in a run of the quickstart's world and policy.

    python benchmarks/tracking.py [--uri URI] [--out benchmarks/tracking] [KEY=VALUE …]

Counted, in whichever thread: writing rows to the spool, sending them (a stage's window ends when all of it has arrived), sampling system
metrics. What is logged once a stage (its run, its data set, its traces) stands beside it, however long the stage is. The step's own is
the process's CPU time without all that; environment workers, which are processes of their own, are left out of it: the share is an upper bound.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SIZE = [
    "demonstrations.episodes=1500",
    "stages=[sft,strl,mtrl]",
    "sft.epochs=2",
    "strl.iterations=10",
    "mtrl.iterations=8",
    "mtrl.evaluate_every=0",
    "mtrl.keep=last",
    "evaluation.episodes=4",
    "evaluation.experts=false",
    "rollout.worlds_per_worker=32",
]
LIMIT = 0.03


class Meter:
    """CPU-seconds of tracking: the caller's thread inside the tracker's methods, and the tracker's own threads."""

    METHODS = ("log_metrics", "begin", "log_artifact", "log_table", "log_dataset", "log_trajectories", "end")

    def __init__(self, tracker: type, sink: type) -> None:
        self.calling, self.once, self.sending_once = 0.0, 0.0, 0.0
        for name in self.METHODS:
            setattr(tracker, name, self._timed(getattr(tracker, name), "calling" if name == "log_metrics" else "once"))
        sink._one = self._timed(sink._one, "sending_once")

    def _timed(self, method: Callable[..., Any], into: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if "SystemMetrics" in threading.current_thread().name:
                return method(*arguments, **named)  # counted with its thread
            begun = time.thread_time()
            try:
                return method(*arguments, **named)
            finally:
                setattr(self, into, getattr(self, into) + time.thread_time() - begun)

        return call

    def read(self, tracker: Any) -> tuple[float, float]:
        """Return what rows of metrics cost so far, system metrics included, and what is logged once a stage."""
        threads = [tracker._thread, getattr(tracker._monitor, "_process", None)]
        clocks = [time.pthread_getcpuclockid(t.ident) for t in threads if t is not None and t.is_alive()]
        own = sum(time.clock_gettime(clock) for clock in clocks)
        return self.calling + own - self.sending_once, self.once + self.sending_once


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", help="tracking URI; default: a SQLite file in the run directory")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/tracking")
    args, overrides = parser.parse_known_args()

    from rich.console import Console

    from crossagent.pipeline import recipe_run as pipeline
    from crossagent.recipe.checks import validate
    from crossagent.recipe.schema import load_recipe
    from crossagent.registry.plugin_set import load_plugins
    from crossagent.tracking.mlflow.outbox import FOLDER, Spool
    from crossagent.tracking.mlflow.tracker import Tracker
    from crossagent.tracking.mlflow.writer import Sink

    meter, rows = Meter(Tracker, Sink), []
    train = pipeline.train

    def measured(work: Any, stage: str) -> None:
        arrive(work)
        process, (rows_before, once_before) = time.process_time(), meter.read(work.tracker)
        train(work, stage)
        arrive(work)
        of_rows, once = meter.read(work.tracker)
        of_rows, once = of_rows - rows_before, once - once_before
        own = time.process_time() - process - of_rows - once
        metrics = work.directory.stage(stage) / "metrics.jsonl"
        if metrics.is_file():
            lines = metrics.read_text().splitlines()
            rows.append(
                {
                    "stage": stage,
                    "steps": len(lines),
                    "metrics_per_step": round(sum(len(json.loads(line)) - 1 for line in lines) / len(lines), 1),
                    "step_cpu_s": round(own / len(lines), 5),
                    "tracking_cpu_s": round(of_rows / len(lines), 5),
                    "share": round(of_rows / own, 5),
                    "once_a_stage_cpu_s": round(once, 3),
                }
            )

    def arrive(work: Any) -> None:
        uri = work.tracker._uri
        spool = Spool(work.directory.path / FOLDER)
        while spool.pending(uri):
            time.sleep(0.5)

    pipeline.train = measured
    with tempfile.TemporaryDirectory() as directory:
        given = [*SIZE, f"runs_dir={directory}", *([f"tracking.uri={args.uri}"] if args.uri else []), *overrides]
        recipe = load_recipe(ROOT / "recipes/quickstart.yaml", given)
        pipeline.run(validate(recipe, load_plugins()), Console(quiet=True), "quiet")
    about = {
        "target": "server" if args.uri else "sqlite",
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "command": " ".join(["python benchmarks/tracking.py", *(["--uri URI"] if args.uri else []), *overrides]),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "results.jsonl"
    kept = (
        [line for line in file.read_text().splitlines() if json.loads(line)["target"] != about["target"]]
        if file.is_file()
        else []
    )
    file.write_text("".join(f"{line}\n" for line in [*kept, *(json.dumps({**row, **about}) for row in rows)]))
    for row in rows:
        print(row)
    return int(any(row.get("share", 0.0) > LIMIT for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
