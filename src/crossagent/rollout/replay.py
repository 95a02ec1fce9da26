"""Stored trajectories, executed once more: is what they say what their environment does from that task and seed?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from crossagent.envs.images import png
from crossagent.envs.workers.pool import EnvFailure, WorkerPool
from crossagent.envs.world import Acted, Replayed
from crossagent.rollout.loop import CUT
from crossagent.spaces.base import CostRule
from crossagent.types import Event, Observation, StopReason, Task, Trajectory, Turn

_AT_ONCE = 256
_INNER = ("state_hash", "anchor_key")
"""What nobody sees or earns."""
_ENDINGS = {StopReason.terminated: "terminated", StopReason.max_ticks: "truncated"}


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing in which a trajectory and its replay differ."""

    turn: int | None
    """Counted from 0; None: before the first, or of the episode as a whole."""
    what: str
    """``state_hash``, ``observation``, ``image``, ``ticks``, ``reward``, ``events``, …"""
    stored: Any
    replayed: Any
    beyond: str = ""
    """Where the first is of a state's hash or key, which any change of an environment moves: the first of something else."""

    def __str__(self) -> str:
        where = "" if self.turn is None else f"turn {self.turn}: "
        text = f"{where}{self.what}: stored {_short(self.stored)}, replayed {_short(self.replayed)}"
        return f"{text}; beyond that, {self.beyond}" if self.beyond else text


def why_not(trajectory: Trajectory, tasks: Mapping[str, Task]) -> str:
    """Return why a trajectory cannot be replayed, empty when it can."""
    if not trajectory.env:
        return "a single turn of STRL: it was compared, not executed"
    if trajectory.task not in tasks:
        return f"the environment has no task {trajectory.task!r} any more"
    return "" if trajectory.turns else "it has no turns"


def replay(
    trajectories: Sequence[Trajectory],
    tasks: Mapping[str, Task],
    pool: WorkerPool,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Difference | None]:
    """Execute trajectories once more; return the first difference of each, None where there is none.

    Args:
        trajectories: Those for which :func:`why_not` returns nothing.
        tasks: Of the environment, by name.
        pool: Its worlds, with the spaces and costs of the run.
        progress: Called with the number replayed so far.
    """
    found: list[Difference | None] = []
    for at in range(0, len(trajectories), _AT_ONCE):
        some = trajectories[at : at + _AT_ONCE]
        jobs = [(tasks[t.task], t.seed, tuple(u.text for u in executed(t)), t.spaces or None) for t in some]
        for trajectory, answer in zip(some, pool.spread("replay", jobs), strict=True):
            found.append(first_difference(trajectory, answer, pool.config.costs))
        progress(len(found))
    return found


def executed(trajectory: Trajectory) -> tuple[Turn, ...]:
    """Return the turns that reached the world: all, less a last one that was cut at the token limit."""
    return tuple(turn for turn in trajectory.turns if turn.invalid != CUT)


def first_difference(
    trajectory: Trajectory, answer: Replayed | EnvFailure, costs: Mapping[str, CostRule]
) -> Difference | None:
    """Return the first difference between a trajectory and its replay, in the order in which it happened."""
    if isinstance(answer, EnvFailure):
        return Difference(None, "failure", trajectory.failure or "none", str(answer))
    differing = [Difference(*pair) for pair in _pairs(trajectory, answer, costs) if pair[2] != pair[3]]
    if not differing or differing[0].what not in _INNER:
        return differing[0] if differing else None
    beyond = next((str(other) for other in differing if other.what not in _INNER), "nothing differs")
    return replace(differing[0], beyond=beyond)


def _pairs(
    trajectory: Trajectory, replayed: Replayed, costs: Mapping[str, CostRule]
) -> Iterator[tuple[int | None, str, Any, Any]]:
    """Yield (turn, what, stored, replayed) of all that is compared."""
    turns = executed(trajectory)
    yield None, "state_hash", trajectory.state_hash, replayed.started.state_hash
    yield from _seen(0, trajectory.turns[0], replayed.started.observation, replayed.started.anchor_key)
    for number, (turn, acted) in enumerate(zip(turns, replayed.acted, strict=False)):
        yield from _did(number, turn, acted, costs)
        if number + 1 < len(trajectory.turns):
            yield from _seen(number + 1, trajectory.turns[number + 1], acted.observation, acted.anchor_key)
    yield None, "turns", len(turns), len(replayed.acted)
    if trajectory.stop_reason is StopReason.failure or not replayed.acted:
        return
    last = replayed.acted[-1]
    ended = "terminated" if last.terminated else "truncated" if last.truncated else "goes on"
    yield None, "ending", _ENDINGS.get(trajectory.stop_reason, "goes on"), ended
    yield None, "success", trajectory.success, last.success


def _seen(
    number: int, turn: Turn, observation: Observation, anchor_key: str
) -> Iterator[tuple[int | None, str, Any, Any]]:
    yield number, "observation", turn.observation, observation.text
    yield number, "image", turn.image, b"" if observation.image is None else png(observation.image)
    yield number, "anchor_key", turn.anchor_key, anchor_key


def _did(
    number: int, turn: Turn, acted: Acted, costs: Mapping[str, CostRule]
) -> Iterator[tuple[int | None, str, Any, Any]]:
    for what in ("space", "invalid", "ticks", "reward", "error"):
        yield number, what, getattr(turn, what), getattr(acted, what)
    yield number, "events", _plain(turn.events), _plain(acted.events)
    yield number, "payload", _plain(turn.payload), _plain(acted.payload)
    rule = costs.get(acted.space or "")
    tokens = 0.0 if rule is None or acted.invalid else rule.per_token * (len(turn.response_ids) - turn.forced)
    yield number, "cost", turn.cost, acted.cost + tokens


def _plain(value: Any) -> Any:
    """Return a value as it comes back from a file: tuples as lists."""
    return json.loads(
        json.dumps(value, default=lambda other: asdict(other) if isinstance(other, Event) else str(other))
    )


def _short(value: Any) -> str:
    text = f"{len(value)} bytes of PNG" if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
