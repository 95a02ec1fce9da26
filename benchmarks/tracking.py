"""What tracking costs: its CPU-seconds per training step against the step's own, in a run of the quickstart's world and policy.

    python benchmarks/tracking.py [--uri URI] [--out benchmarks/tracking] [KEY=VALUE …]

Everything tracking does while a stage trains is counted, in whichever thread: writing the spool, sending it (a stage's window ends when all
of it has arrived), sampling system metrics. The step's own is the process's CPU time without that; environment workers, which are
processes of their own, are left out of it, so the share is an upper bound. Making the database is no step's work and stands beside it.
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
    "demonstrations.episodes=600",
    "stages=[sft,strl,mtrl]",
    "sft.epochs=2",
    "strl.iterations=3",
    "mtrl.iterations=4",
    "mtrl.evaluate_every=0",
    "mtrl.keep=last",
    "evaluation.episodes=4",
    "evaluation.experts=false",
    "rollout.worlds_per_worker=32",
]
LIMIT = 0.03


class Meter:
    """CPU-seconds of tracking: the caller's threads inside the tracker's methods, and the tracker's own threads."""

    METHODS = ("begin", "log_metrics", "log_artifact", "log_table", "log_dataset", "log_trajectories", "end")

    def __init__(self, tracker: type) -> None:
        self.calling = 0.0
        self._depth = 0
        for name in self.METHODS:
            setattr(tracker, name, self._timed(getattr(tracker, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._depth or "SystemMetrics" in threading.current_thread().name:
                return method(*arguments, **named)  # counted by the outer call, or with its thread
            self._depth += 1
            begun = time.thread_time()
            try:
                return method(*arguments, **named)
            finally:
                self.calling += time.thread_time() - begun
                self._depth -= 1

        return call

    def read(self, tracker: Any) -> float:
        threads = [tracker._thread, getattr(tracker._monitor, "_process", None)]
        clocks = [time.pthread_getcpuclockid(t.ident) for t in threads if t is not None and t.is_alive()]
        return self.calling + sum(time.clock_gettime(clock) for clock in clocks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", help="tracking URI; default: a SQLite file in the run directory")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/tracking")
    args, overrides = parser.parse_known_args()

    from rich.console import Console

    from crossagent import pipeline
    from crossagent.recipe import load_recipe, validate
    from crossagent.registry import load_plugins
    from crossagent.tracking.mlflow import Tracker
    from crossagent.tracking.spool import FOLDER, Spool

    meter, rows = Meter(Tracker), []
    train = pipeline.train

    def measured(work: Any, stage: str) -> None:
        arrive(work)
        process, tracking = time.process_time(), meter.read(work.tracker)
        train(work, stage)
        arrive(work)
        metrics = work.directory.stage(stage) / "metrics.jsonl"
        tracking = meter.read(work.tracker) - tracking
        own = time.process_time() - process - tracking
        if metrics.is_file():
            lines = metrics.read_text().splitlines()
            rows.append(
                {
                    "stage": stage,
                    "steps": len(lines),
                    "metrics_per_step": round(sum(len(json.loads(line)) - 1 for line in lines) / len(lines), 1),
                    "step_cpu_s": round(own / len(lines), 5),
                    "tracking_cpu_s": round(tracking / len(lines), 5),
                    "share": round(tracking / own, 5),
                }
            )
        else:
            rows.append({"stage": stage, "steps": 0, "tracking_cpu_s": round(tracking, 3)})

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
