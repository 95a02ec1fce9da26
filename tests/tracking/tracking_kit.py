"""A tracking server that can be away, slow, or refuse; and trajectories to show."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from crossagent.types import Event, StopReason, Trajectory, Turn


class FakeMlflow:
    """What the sink uses of ``MlflowClient``, in memory. ``fault`` is called with every call's name, and may raise."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, str] = {}
        self.fault: Callable[[str], None] = lambda name: None
        self.calls: list[str] = []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.fault(name)

    def get_experiment_by_name(self, name: str) -> Any:
        self._called("get_experiment_by_name")
        found = self.experiments.get(name)
        return SimpleNamespace(experiment_id=found) if found else None

    def create_experiment(self, name: str, artifact_location: str | None = None) -> str:
        self._called("create_experiment")
        return self.experiments.setdefault(name, str(len(self.experiments) + 1))

    def search_runs(self, experiments: list[str], query: str, max_results: int) -> list[Any]:
        self._called("search_runs")
        key = query.split("'")[1]
        return [
            SimpleNamespace(info=SimpleNamespace(run_id=i))
            for i, run in self.runs.items()
            if key in run["tags"].values()
        ]

    def create_run(self, experiment: str, run_name: str, start_time: int, tags: dict[str, str]) -> Any:
        identity = f"run{len(self.runs)}"
        self.runs[identity] = {"name": run_name, "tags": tags, "points": [], "params": {}, "status": "RUNNING"}
        self._called("create_run")  # the server may have done it although the answer never comes
        return SimpleNamespace(info=SimpleNamespace(run_id=identity))

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        for point in metrics:
            found = (point.key, point.step, point.value, point.timestamp)
            if found not in self.runs[run_id]["points"]:  # as MLflow's key does
                self.runs[run_id]["points"].append(found)
        self.runs[run_id]["params"] |= {param.key: param.value for param in params}
        self._called("log_batch")

    def update_run(self, run_id: str, status: str) -> None:
        self._called("update_run")
        self.runs[run_id]["status"] = status

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        self._called("set_terminated")
        self.runs[run_id]["status"] = status

    def named(self, name: str) -> dict[str, Any]:
        return next(run for run in self.runs.values() if run["name"] == name)


def turn(space: str | None = "api", text: str = "Api: mine(oak_log)", **changes: Any) -> Turn:
    """A turn of three tokens, the first forced."""
    given = {"prompt_ids": (1, 2), "response_ids": (3, 4, 5), "sampler_logprobs": (0.0, -0.5, -0.25), "forced": 1}
    return Turn(
        **{**given, "space": space, "text": text, "observation": "aim none", "ticks": 4, "cost": 1.0, **changes}
    )


def trajectory(*turns: Turn, success: bool = True, **changes: Any) -> Trajectory:
    """An episode of these turns."""
    given: dict[str, Any] = {
        "task": "mine_block:oak_log",
        "category": "mine_block",
        "env": "toy",
        "seed": 7,
        "group": 0,
        "member": 0,
        "stop_reason": StopReason.terminated if success else StopReason.max_turns,
        "spaces": ("api", "gui"),
    }
    return Trajectory(**{**given, "turns": turns or (turn(),), "success": success, **changes})


EVENT = Event("mine_block", "oak_log")
