"""Numbers of one iteration, from its trajectories: per space and overall. Loads no torch."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from crossagent.envs.workers.pool import FailureKind
from crossagent.types import StopReason, Trajectory

log = logging.getLogger(__name__)


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of nothing, which is not the same as 0."""
    return sum(values) / len(values) if values else math.nan


def rollout_metrics(
    trajectories: Sequence[Trajectory], returns: Sequence[float], weights: Mapping[str, float]
) -> dict[str, float]:
    """Return what was played, failures left out of every mean: success, return, length, cost, endings, dropped.

    Args:
        trajectories: All of an iteration.
        returns: R of each; NaN for one that was dropped.
        weights: λ per space.
    """
    live = [(t, r) for t, r in zip(trajectories, returns, strict=True) if not math.isnan(r)]
    turns = [turn for t, _ in live for turn in t.turns]
    stops = Counter(t.stop_reason for t in trajectories)
    metrics = {
        "rollout/trajectories": float(len(trajectories)),
        "rollout/dropped": float(len(trajectories) - len(live)),
        "rollout/success": mean([float(t.success) for t, _ in live]),
        "rollout/return": mean([r for _, r in live]),
        "rollout/turns": mean([float(len(t.turns)) for t, _ in live]),
        "rollout/ticks": mean([float(t.ticks) for t, _ in live]),
        "rollout/cost": mean([t.weighted_cost(weights) for t, _ in live]),
        "rollout/invalid": mean([float(bool(turn.invalid)) for turn in turns]),
        "rollout/response_tokens": mean([float(len(turn.response_ids)) for turn in turns]),
        "rollout/response_tokens_max": float(max((len(turn.response_ids) for turn in turns), default=math.nan)),
        "rollout/cut": mean([float(turn.finish_reason == "length") for turn in turns]),
    }
    for reason in StopReason:
        metrics[f"stop/{reason.value}"] = stops[reason] / max(1, len(trajectories))
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def dropped_metrics(
    trajectories: Sequence[Trajectory], returns: Sequence[float], trained: Sequence[bool], *, drop_all_fail: bool
) -> dict[str, float]:
    """Return how many trajectories do not train, by cause; every trajectory that does not has one, and they add up.

    ``dropped/<kind of failure>``: its world. ``dropped/no_turn``: it ended before its first turn. ``dropped/group_too_small``:
    failures left its group fewer than two members. ``dropped/all_fail``, ``dropped/zero_variance``: its group cannot teach.
    ``dropped/overlong``: it was cut at the token limit, and such do not train.

    Args:
        trajectories: All of an iteration.
        returns: R of each; NaN for one that failed or has no turn.
        trained: Which of them train.
        drop_all_fail: Whether groups without any success are left out.
    """
    causes = Counter(dict.fromkeys(CAUSES, 0))
    groups: dict[int, list[int]] = {}
    for index, trajectory in enumerate(trajectories):
        if not math.isnan(returns[index]):
            groups.setdefault(trajectory.group, []).append(index)
    for index, trajectory in enumerate(trajectories):
        if trained[index]:
            continue
        live = groups.get(trajectory.group, [])
        if trajectory.stop_reason is StopReason.failure:
            kind = trajectory.failure.partition(":")[0]
            causes[kind if kind in CAUSES else "other"] += 1
        elif math.isnan(returns[index]):
            causes["no_turn"] += 1
        elif len(live) < 2:
            causes["group_too_small"] += 1
        elif drop_all_fail and not any(trajectories[i].success for i in live):
            causes["all_fail"] += 1
        elif len({returns[i] for i in live}) == 1:
            causes["zero_variance"] += 1
        else:
            causes["overlong"] += 1
    return {f"dropped/{cause}": float(number) for cause, number in causes.items()}


CAUSES = (*get_args(FailureKind), "other", "no_turn", "group_too_small", "all_fail", "zero_variance", "overlong")
"""Why a trajectory does not train, in the order in which they are looked for."""


def single_space_metrics(trajectories: Sequence[Trajectory], spaces: Sequence[str]) -> dict[str, float]:
    """Return ``single/<id>/success`` of those that might use that space alone (``single_space_share``), failures left out."""
    live = [t for t in trajectories if t.stop_reason is not StopReason.failure]
    found = {space: [float(t.success) for t in live if t.spaces == (space,)] for space in spaces}
    return {f"single/{space}/success": mean(won) for space, won in found.items() if won}


def space_entropy(turns: Sequence[tuple[str | None, float, int]], spaces: Sequence[str]) -> dict[str, float]:
    """Return ``space/<id>/entropy``: nats per trained token, at the sampling temperature, of the turns in each space.

    Args:
        turns: (space, sum of the entropy over its trained tokens, number of those) of each trained turn.
        spaces: Those of the run.
    """
    metrics: dict[str, float] = {}
    for space in spaces:
        tokens = sum(count for name, _, count in turns if name == space)
        if tokens:
            metrics[f"space/{space}/entropy"] = sum(total for name, total, _ in turns if name == space) / tokens
    return metrics


def space_metrics(
    trajectories: Sequence[Trajectory], advantages: Sequence[Sequence[float]], spaces: Sequence[str]
) -> dict[str, float]:
    """Return, per space: ``share`` of turns, ``success`` of the trajectories that used it, ``valid`` share of its turns,
    ``failed`` share of its valid turns whose action did not do what it says, ``cost`` per turn before λ, mean ``advantage``.
    And the entropy of the shares, in nats: log N where N spaces are used alike, 0 where one has taken over.

    Args:
        trajectories: Live ones.
        advantages: Per trajectory and turn; NaN where a trajectory does not train.
        spaces: Those of the run; one that nobody used has a share of 0 and no other number.
    """
    total = sum(len(t.turns) for t in trajectories)
    metrics: dict[str, float] = {}
    for space in spaces:
        used = [(t, turn, a) for t, per in zip(trajectories, advantages, strict=True)
                for turn, a in zip(t.turns, per, strict=True) if turn.space == space]  # fmt: skip
        users = [t for t in trajectories if any(turn.space == space for turn in t.turns)]
        valid = [turn for _, turn, _ in used if not turn.invalid]
        named = {
            "share": len(used) / total if total else math.nan,
            "success": mean([float(t.success) for t in users]),
            "valid": len(valid) / len(used) if used else math.nan,
            "failed": mean([float(bool(turn.error)) for turn in valid]),
            "cost": mean([turn.cost for turn in valid]),
            "advantage": mean([a for _, _, a in used if not math.isnan(a)]),
        }
        metrics |= {f"space/{space}/{name}": value for name, value in named.items() if not math.isnan(value)}
    nobody = sum(1 for t in trajectories for turn in t.turns if turn.space not in spaces)
    if total:
        metrics["space/none/share"] = nobody / total
        shares = [value for name, value in metrics.items() if name.endswith("/share") and value > 0]
        metrics["rollout/space_entropy"] = -sum(share * math.log(share) for share in shares) + 0.0
    return metrics


class CollapseWatch:
    """Warns, once each, when a space is abandoned or the policy stops choosing."""

    def __init__(self, entropy_share: float = 0.05) -> None:
        """Warn below this share of the first iteration's entropy."""
        self.entropy_share = entropy_share
        self._seen: set[str] = set()
        self._warned: set[str] = set()
        self._first_entropy: float | None = None

    def look(self, iteration: int, metrics: Mapping[str, float]) -> list[str]:
        """Return, and log, what is new in this iteration."""
        found = []
        for name, value in metrics.items():
            if name.startswith("space/") and name.endswith("/share") and name != "space/none/share":
                space = name.split("/")[1]
                if value > 0:
                    self._seen.add(space)
                elif space in self._seen and space not in self._warned:
                    self._warned.add(space)
                    found.append(f"iteration {iteration}: nobody used space {space!r} any more")
        entropy = metrics.get("train/entropy")
        if entropy is not None:
            if self._first_entropy is None:
                self._first_entropy = entropy
            elif entropy < self.entropy_share * self._first_entropy and "entropy" not in self._warned:
                self._warned.add("entropy")
                found.append(
                    f"iteration {iteration}: entropy fell from {self._first_entropy:.3g} to {entropy:.3g} nats per token; "
                    "lower lr, or set entropy_coef or kl_coef"
                )
        for message in found:
            log.warning("%s", message)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed stage needs to warn of the same things."""
        return {"seen": sorted(self._seen), "warned": sorted(self._warned), "first_entropy": self._first_entropy}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._seen, self._warned = set(state["seen"]), set(state["warned"])
        self._first_entropy = state["first_entropy"]
