"""Demonstrations: episodes that experts play through action spaces, in a balanced mixture, and their file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from crossagent.distributed import ALONE, Ranks
from crossagent.envs.recording import MIXED, Demonstration, DemoTurn
from crossagent.envs.workers.pool import EnvFailure, WorkerPool
from crossagent.errors import DataError, RecipeError, TaskError, did_you_mean
from crossagent.rollout.store import SEGMENTS, read_rows, segment_rows, segments_of, write_rows
from crossagent.seeding import derive, rng
from crossagent.types import Task

__all__ = [
    "MIXED",
    "CollectStats",
    "DemoTurn",
    "Demonstration",
    "apportion",
    "collect",
    "load_demonstrations",
    "save_demonstrations",
]

logger = logging.getLogger(__name__)
SCHEMA_VERSION = 2
"""2 added ``image``."""
_OLDER = (1,)
_ROUND = 256
"""Episodes recorded at a time; fixed, because what is given up is decided between rounds."""
_HOPELESS = 4
"""A kind gives a task up after so many episodes without a single success."""
_MOST_TRIES = 20
"""A kind ends short after so many episodes per one wanted, so that collecting always ends."""
_TURN = pa.struct(
    {
        "observation": pa.string(),
        "text": pa.string(),
        "space": pa.string(),
        "anchor_key": pa.string(),
        "ticks": pa.int64(),
        "reward": pa.float64(),
        "cost": pa.float64(),
        "error": pa.string(),
        "segments": SEGMENTS,
        "image": pa.binary(),
    }
)
_DEMONSTRATION = pa.schema(
    {
        "task": pa.string(),
        "category": pa.string(),
        "seed": pa.int64(),
        "spaces": pa.list_(pa.string()),
        "turns": pa.list_(_TURN),
        "success": pa.bool_(),
        "kind": pa.string(),
        "instruction": pa.string(),
        "end": pa.string(),
    }
)


@dataclass
class CollectStats:
    """What collecting took, per kind."""

    attempted: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    unsuccessful: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    """Episodes whose world broke."""
    given_up: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Tasks that a kind never solved."""


def apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Split ``total`` by weight into whole numbers that add up to it (largest remainder, ties in the given order)."""
    exact = {name: Fraction(weight) for name, weight in weights.items()}
    if not exact or min(exact.values()) < 0 or not sum(exact.values()):
        raise RecipeError(f"demonstrations.mixture: got {dict(weights)}; expected shares ≥ 0, one of them > 0")
    shares = {name: total * weight / sum(exact.values()) for name, weight in exact.items()}
    counts = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - shares[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def collect(
    pool: WorkerPool,
    tasks: Sequence[Task],
    *,
    ranks: Ranks = ALONE,
    episodes: int,
    mixture: Mapping[str, float],
    seed: int,
    keep_failed: bool = False,
    also_under_all: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
    stats: CollectStats | None = None,
) -> list[Demonstration]:
    """Record ``episodes`` demonstrations, balanced over kinds; the same list for any number of workers.

    Per kind, tasks come round in a seeded order with a new world each time; an episode is kept when it succeeds, so
    shares hold for what is kept. A task that a kind cannot solve is given up for that kind. World seeds derive from
    ``(seed, "demonstration", …)``: no evaluation and no training episode shares one.

    Args:
        pool: The worlds.
        tasks: What to demonstrate; unsolvable ones are left out.
        ranks: The processes that record them together, each in its own pool; all get the whole list.
        episodes: Number to keep.
        mixture: Kind → weight; a kind is a space's name or ``mixed``.
        seed: The run's.
        keep_failed: Keep episodes without success too.
        also_under_all: Share of the single-space episodes that are listed once more, under the prompt of all spaces.
        progress: Called with (kept so far, wanted).
        stats: Filled in.

    Raises:
        TaskError: There is no task, or no kind can solve any.
        RecipeError: A kind is no space of the run.
    """
    names = pool.config.space_names
    for kind, share in mixture.items():
        if share and kind != MIXED and kind not in names:
            known = did_you_mean(kind, [MIXED, *names])
            raise RecipeError(f"demonstrations.mixture: unknown kind {kind!r}. {known}")
    tasks = [task for task in tasks if task.solvable]
    if not tasks:
        raise TaskError("demonstrations: no solvable task is selected; check demonstrations.splits")
    stats = stats or CollectStats()
    wanted = {kind: count for kind, count in apportion(episodes, mixture).items() if count}
    plans = {kind: _Plan(kind, count, tasks, seed) for kind, count in wanted.items()}
    while any(plan.unfinished for plan in plans.values()):
        jobs: list[tuple[_Plan, Task, int]] = []
        for plan in plans.values():
            jobs += [(plan, task, number) for task, number in plan.next_attempts(_ROUND // len(plans) or 1)]
        answers = ranks.gather_in_order(
            pool.spread(
                "demonstrate",
                [
                    (
                        task,
                        derive(seed, "demonstration", plan.kind, number),
                        names if plan.kind == MIXED else (plan.kind,),
                        derive(seed, "decision", plan.kind, number),
                    )
                    for plan, task, number in ranks.local_items(jobs)
                ],
            )
        )
        for (plan, task, _), answer in zip(jobs, answers, strict=True):
            plan.take(task, answer, keep_failed)
        if progress is not None:
            progress(sum(len(plan.kept) for plan in plans.values()), sum(wanted.values()))
    demonstrations: list[Demonstration] = []
    for plan in plans.values():
        plan.report(stats)
        demonstrations += plan.kept
        if plan.kind != MIXED and also_under_all:
            chosen = rng(seed, "also_under_all", plan.kind).sample(
                range(len(plan.kept)), round(also_under_all * len(plan.kept))
            )
            demonstrations += [replace(plan.kept[index], spaces=names) for index in sorted(chosen)]
    if not demonstrations:
        raise TaskError(
            f"demonstrations: no expert solved any of {len(tasks)} tasks ({', '.join(wanted)}); "
            "check that the environment has experts for what the spaces require"
        )
    return demonstrations


class _Plan:
    """The episodes of one kind."""

    def __init__(self, kind: str, wanted: int, tasks: Sequence[Task], seed: int) -> None:
        self.kind, self.wanted = kind, wanted
        self.kept: list[Demonstration] = []
        self._tasks = list(tasks)
        rng(seed, "demonstration tasks", kind).shuffle(self._tasks)
        self._next = self._attempts = 0
        self._limit = _MOST_TRIES * wanted + _HOPELESS * len(tasks)
        self._tries = {task.name: 0 for task in tasks}
        self._solved = {task.name: 0 for task in tasks}
        self._given_up: list[str] = []
        self._unsuccessful = self._failures = 0

    @property
    def unfinished(self) -> bool:
        return len(self.kept) < self.wanted and bool(self._tasks) and self._attempts < self._limit

    def next_attempts(self, most: int) -> list[tuple[Task, int]]:
        """Return (task, number of the attempt) for the next round: what is missing, and a little for failures."""
        if not self.unfinished:
            return []
        missing = self.wanted - len(self.kept)
        attempts = []
        for _ in range(min(most, missing + missing // 8 + 1)):
            attempts.append((self._tasks[self._next % len(self._tasks)], self._attempts))
            self._next += 1
            self._attempts += 1
        return attempts

    def take(self, task: Task, answer: Demonstration | EnvFailure, keep_failed: bool) -> None:
        self._tries[task.name] += 1
        if isinstance(answer, EnvFailure):
            self._failures += 1
        elif answer.turns and (answer.success or keep_failed):
            self._solved[task.name] += 1
            if len(self.kept) < self.wanted:
                self.kept.append(answer)
        else:
            self._unsuccessful += 1
        hopeless = self._tries[task.name] >= _HOPELESS and not self._solved[task.name]
        if hopeless and task in self._tasks:
            self._tasks.remove(task)
            self._given_up.append(task.name)

    def report(self, stats: CollectStats) -> None:
        stats.attempted[self.kind], stats.kept[self.kind] = self._attempts, len(self.kept)
        stats.unsuccessful[self.kind], stats.failures[self.kind] = self._unsuccessful, self._failures
        stats.given_up[self.kind] = tuple(sorted(self._given_up))
        logger.info(
            "demonstrations %s: kept %d of %d wanted in %d episodes; %d without success, %d worlds broke; gave up %d tasks",
            self.kind,
            len(self.kept),
            self.wanted,
            self._attempts,
            self._unsuccessful,
            self._failures,
            len(self._given_up),
        )
        if len(self.kept) < self.wanted:
            logger.warning(
                "demonstrations %s: only %d of %d; the experts solve too few of the selected tasks this way",
                self.kind,
                len(self.kept),
                self.wanted,
            )


def save_demonstrations(
    path: Path | str, demonstrations: Iterable[Demonstration], meta: Mapping[str, Any] | None = None
) -> None:
    """Write demonstrations to a parquet file, atomically; ``meta`` is JSON-able, about all of them.

    They are taken one after another, so that a data set need not fit into memory.
    """
    write_rows(path, map(_row_of, demonstrations), _DEMONSTRATION, "demonstrations", SCHEMA_VERSION, meta)


def _row_of(demonstration: Demonstration) -> dict[str, Any]:
    row = asdict(demonstration)
    row["turns"] = [{**turn, "segments": segment_rows(turn["segments"])} for turn in row["turns"]]
    return row


def load_demonstrations(path: Path | str) -> list[Demonstration]:
    """Return the demonstrations of a file; raises :class:`DataError` for any file that holds none."""
    rows, _ = read_rows(path, "demonstrations", SCHEMA_VERSION, older=_OLDER)
    try:
        return [
            Demonstration(
                **{
                    **row,
                    "spaces": tuple(row["spaces"]),
                    "turns": tuple(DemoTurn(**{**t, "segments": segments_of(t)}) for t in row["turns"]),
                }
            )
            for row in rows
        ]
    except (TypeError, KeyError) as error:
        raise DataError(f"{path}: not demonstrations of schema {SCHEMA_VERSION}: {error}") from error
