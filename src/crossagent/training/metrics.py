"""Numbers of one iteration, from its trajectories: per space and overall. Loads no torch."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from crossagent.types import StopReason, Trajectory

log = logging.getLogger(__name__)


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of nothing, which is not the same as 0."""
    return sum(values) / len(values) if values else math.nan


def rollout_metrics(
    trajectories: Sequence[Trajectory], returns: Sequence[float], weights: Mapping[str, float]
) -> dict[str, float]:
    """Return what was played, failures left out of every mean: success, return, length, cost, endings, dropped."""
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
    }
    for reason in StopReason:
        metrics[f"stop/{reason.value}"] = stops[reason] / max(1, len(trajectories))
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def space_metrics(
    trajectories: Sequence[Trajectory], advantages: Sequence[Sequence[float]], spaces: Sequence[str]
) -> dict[str, float]:
    """Return, per space: ``share`` of turns, ``success`` of the trajectories that used it, ``valid`` share of its turns,
    ``failed`` share of its valid turns whose action did not do what it says, ``cost`` per turn before λ, mean ``advantage``.

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
