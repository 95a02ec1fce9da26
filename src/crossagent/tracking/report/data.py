"""Everything the report shows of one run, as plain JSON-able data, from the run's files alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossagent.errors import DataError
from crossagent.tracking.files import read_json, read_metrics

PHASES = 5
"""Parts of equal length that the turns of an episode are cut into."""
MAX_POINTS = 400
"""Of one curve; longer ones are thinned evenly, their last point kept."""
TIME_PARTS = ("generate", "environment", "log-probs", "update", "other", "evaluation")
ENDS = {
    "terminated": "ended without success (died, or the task became impossible)",
    "max_turns": "turn limit",
    "max_ticks": "tick limit",
    "cut": "response cut at the token limit",
    "failure": "the world broke (counts for nothing)",
}
DROPPED = {
    "raised": "the world raised an error",
    "garbage": "the world answered what it must not",
    "hung": "the world hung, and was ended",
    "exited": "the world's process ended",
    "crashed": "the world's process crashed",
    "memory": "the world's process took too much memory",
    "killed": "the world's process was killed",
    "lost": "the world was lost with its worker",
    "refused": "the world refused to begin",
    "other": "the world broke otherwise",
    "no_turn": "it ended before its first turn",
    "group_too_small": "failures left its group with one member",
    "all_fail": "nobody in its group succeeded",
    "zero_variance": "all returns of its group are equal",
    "overlong": "cut at the token limit",
}
"""Causes that metrics count as ``dropped/CAUSE``; one that is not here is shown by its name."""
SITUATIONS = ("searching", "aimed at the target", "aimed at something else", "a window is open")
_COLUMNS = ("task", "stop_reason", "success")
_TURN_COLUMNS = ("space", "observation", "invalid", "error")


def collect(run: Path) -> dict[str, Any]:
    """Return what is known of a run, finished or not: see the keys below.

    ``name, directory, complete, recipe_sha256, versions, recipe`` · ``stages``: name, seconds of training and of evaluation,
    suite → agent → cell with categories · ``experts``: suite → interface → cell · ``curves``: stage → metric → [step, value] ·
    ``phases`` and ``failures``: stage → suite → see :func:`phases_of`, :func:`failures_of` ·
    ``dropped``: stage → see :func:`_dropped` · ``time``: stage → seconds per part.

    Raises:
        DataError: The directory is no run of ours.
    """
    state_file = run / "state.json"
    if not state_file.is_file():
        raise DataError(f"{run}: no run of crossagent (no state.json); expected a run directory, e.g. runs/quickstart")
    state = read_json(state_file)
    steps = state["steps"]
    names = ["untrained", *state["recipe"]["stages"]]
    stages = [
        {
            "stage": name,
            "seconds": {
                "training": steps[f"{name}/train"]["seconds"],
                "evaluation": steps.get(f"{name}/eval", {}).get("seconds", 0.0),
            },
            "eval": steps.get(f"{name}/eval", {}).get("cells", {}),
        }
        for name in names
        if f"{name}/train" in steps
    ]
    summary = run / "summary.json"
    curves = {name: _thin(read_metrics(run / name / "metrics.jsonl")) for name in names[1:]}
    phases: dict[str, Any] = {}
    failures: dict[str, Any] = {}
    for stage in stages:
        for suite, kinds in stage["eval"].items():
            if not kinds:
                continue
            played = list(
                _trajectories(run / stage["stage"] / "trajectories" / f"evaluation-{suite}-{next(iter(kinds))}.parquet")
            )
            if played:
                phases.setdefault(stage["stage"], {})[suite] = phases_of(played, list(state["recipe"]["spaces"]))
                failures.setdefault(stage["stage"], {})[suite] = failures_of(played)
    return {
        "name": run.resolve().name,
        "directory": str(run),
        "complete": all(f"{name}/eval" in steps for name in names),
        "recipe_sha256": state["recipe_sha256"],
        "versions": read_json(summary)["versions"] if summary.is_file() else {},
        "recipe": state["recipe"],
        "stages": stages,
        "experts": steps.get("experts", {}).get("cells", {}),
        "curves": {name: curve for name, curve in curves.items() if curve},
        "phases": phases,
        "failures": failures,
        "dropped": {name: found for name in names[1:] if (found := _dropped(run / name / "metrics.jsonl"))},
        "time": {stage["stage"]: _time(run / stage["stage"] / "metrics.jsonl", stage["seconds"]) for stage in stages},
    }


def phases_of(trajectories: Sequence[Mapping[str, Any]], spaces: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the share of each space over an episode's phases (the paper's Fig. 6).

    ``by_turn``: the turns of each episode in :data:`PHASES` parts of equal length. ``by_situation``: by what the agent faces, where the
    observation says so (an open window; what is aimed at). Each row: ``phase``, ``turns``, ``shares`` (space → fraction of turns).
    """
    by_turn: list[Counter[str]] = [Counter() for _ in range(PHASES)]
    by_situation: dict[str, Counter[str]] = {name: Counter() for name in SITUATIONS}
    for trajectory in trajectories:
        turns = trajectory["turns"]
        for number, turn in enumerate(turns):
            space = turn["space"] or "none"
            by_turn[number * PHASES // len(turns)][space] += 1
            faced = situation(turn["observation"], trajectory["task"])
            if faced:
                by_situation[faced][space] += 1
    width = 100 // PHASES
    named = {f"{k * width}–{(k + 1) * width} %": counts for k, counts in enumerate(by_turn)}
    return {"by_turn": _shares(named, spaces), "by_situation": _shares(by_situation, spaces)}


def situation(observation: str, task: str) -> str | None:
    """Return which of :data:`SITUATIONS` an observation's text shows; None where it does not say."""
    if re.match(r"window\b", observation):
        return "a window is open"
    aimed = re.match(r"aim (\S+)", observation)
    if aimed is None:
        return None
    if aimed.group(1) == "none":
        return "searching"
    return "aimed at the target" if aimed.group(1) == task.rpartition(":")[2] else "aimed at something else"


def failures_of(trajectories: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return why episodes failed: ``episodes``, ``failed``, ``ends`` (cause → episodes) and ``reasons``: the commonest reasons why a turn
    of a failed episode did not do what it said, with the number of turns and of episodes; numbers in them are replaced by #.
    """
    failed = [t for t in trajectories if not t["success"]]
    ends = Counter(ENDS.get(t["stop_reason"], t["stop_reason"]) for t in failed)
    turns: Counter[tuple[str, str]] = Counter()
    episodes: Counter[tuple[str, str]] = Counter()
    for trajectory in failed:
        seen = set()
        for turn in trajectory["turns"]:
            text = turn["invalid"] or turn["error"]
            if text:
                key = "no action" if turn["invalid"] else "failed action", re.sub(r"-?\d+", "#", text)[:120]
                turns[key] += 1
                seen.add(key)
        episodes.update(seen)
    return {
        "episodes": len(trajectories),
        "failed": len(failed),
        "ends": dict(ends.most_common()),
        "reasons": [
            {"kind": kind, "reason": reason, "turns": count, "episodes": episodes[kind, reason]}
            for (kind, reason), count in sorted(turns.items(), key=lambda item: (-item[1], item[0]))[:10]
        ],
    }


def _shares(phases: Mapping[str, Counter[str]], spaces: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for name, counts in phases.items():
        total = sum(counts.values())
        if total:
            known = [*spaces, *sorted(set(counts) - set(spaces))]
            rows.append({"phase": name, "turns": total, "shares": {space: counts[space] / total for space in known}})
    return rows


def _dropped(metrics: Path) -> dict[str, Any]:
    """Return how many trajectories a stage ``played``, the ``causes`` (cause → number) of those that did not train, the ``faults``
    (whose → number) of all attempts that failed, and how many were ``retried``.
    """
    totals = {name: round(sum(value for _, value in points)) for name, points in read_metrics(metrics).items()}
    causes = {name.removeprefix("dropped/"): count for name, count in totals.items() if name.startswith("dropped/")}
    if not causes:
        return {}
    faults = {name.removeprefix("fault/"): count for name, count in totals.items() if name.startswith("fault/")}
    order = [*DROPPED, *sorted(causes.keys() - DROPPED.keys())]
    return {
        "played": totals.get("rollout/trajectories", 0),
        "causes": {cause: causes[cause] for cause in order if causes.get(cause)},
        "faults": {fault: count for fault, count in faults.items() if count},
        "retried": totals.get("rollout/retried", 0),
    }


def _time(metrics: Path, seconds: Mapping[str, float]) -> dict[str, float]:
    """Return where a stage's seconds went; what is not measured apart is ``other`` (for SFT that is the whole update)."""
    series = read_metrics(metrics)

    def total(name: str) -> float:
        return sum(value for _, value in series.get(f"time/{name}", []))

    rollout, generate, environment = total("rollout"), total("generate"), total("environment")
    parts = {
        "generate": generate,
        "environment": environment,
        "log-probs": total("logprobs"),
        "update": total("update"),
    }
    if series and "time/iteration" not in series:
        parts["update"] = seconds["training"]  # supervised: nothing is played
    rest = max(rollout - generate - environment, 0.0) if generate or environment else rollout
    known = sum(parts.values())
    parts["other"] = max(seconds["training"] - known, rest if known else 0.0, 0.0)
    return {name: round(value, 3) for name, value in {**parts, "evaluation": seconds["evaluation"]}.items()}


def _thin(series: Mapping[str, list[tuple[int, float]]]) -> dict[str, list[list[float]]]:
    thinned = {}
    for name, points in series.items():
        stride = -(-len(points) // MAX_POINTS)
        kept = points[::stride]
        if kept[-1] != points[-1]:
            kept.append(points[-1])
        thinned[name] = [list(point) for point in kept]
    return thinned


def _trajectories(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the columns we need of a file of trajectories: images and tokens stay on disk."""
    if not path.is_file():
        return
    try:
        file = pq.ParquetFile(path)
        columns = [*_COLUMNS, *(f"turns.list.element.{name}" for name in _TURN_COLUMNS)]
        yield from file.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a file of trajectories: {error}") from error
