"""One set of trajectories, laid out in rows in many ways: what loss and gradient must not depend on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossagent.algorithms import AGGREGATIONS, KL, RATIOS, aggregate, clipped_loss, importance_weights, ratio

Rows = Sequence[Sequence[tuple[int, int]]]
"""Each row is a list of (trajectory, turn)."""
COMBINATIONS = [
    (how, level, importance)
    for how, level in itertools.product(AGGREGATIONS, RATIOS)
    for importance in (None, "token", "sequence")
]
"""(aggregation, ratio level, level of the importance correction)"""


@dataclass
class Episodes:
    """Random trajectories: turn lengths, and per token four kinds of log-probs."""

    lengths: list[list[int]]
    """Tokens of each turn of each trajectory; a turn of 0 tokens has nothing to train."""
    values: dict[str, Tensor]
    """``old``, ``ref``, ``sampler``, ``entropy``: [token] of all turns in order."""
    new: Tensor
    """[token], what is differentiated."""
    advantages: Tensor
    """[trajectory]"""

    @classmethod
    def random(cls, lengths: list[list[int]], seed: int) -> Episodes:
        generator = torch.Generator().manual_seed(seed)
        count = sum(map(sum, lengths))

        def noise(scale: float) -> Tensor:
            return torch.randn(count, generator=generator, dtype=torch.float64).float() * scale

        old = -noise(1.0).abs()
        values = {"old": old, "ref": old + noise(0.3), "sampler": old + noise(0.5), "entropy": noise(1.0).abs()}
        advantages = torch.randn(len(lengths), generator=generator)
        return cls(lengths, values, (old + noise(0.3)).requires_grad_(), advantages)

    @property
    def turns(self) -> list[tuple[int, int]]:
        return [(t, k) for t, own in enumerate(self.lengths) for k in range(len(own))]

    @property
    def concatenated(self) -> Rows:
        return [[(t, k) for k in range(len(own))] for t, own in enumerate(self.lengths)]

    @property
    def split(self) -> Rows:
        return [[key] for key in self.turns]

    def normaliser(self, how: str, rows: Rows) -> float:
        """What a process adds to the global count: tokens, or trajectories whose first turn is here."""
        if how == "token-mean":
            return float(sum(self.lengths[t][k] for row in rows for t, k in row))
        return float(sum(k == 0 for row in rows for _, k in row))

    def loss(
        self, rows: Rows, how: str, level: str, importance: str | None, normaliser: float, new: Tensor | None = None
    ) -> Tensor:
        """The loss of these rows, as GRPO computes that of a micro-batch."""
        starts = dict(zip(self.turns, itertools.accumulate([0, *itertools.chain(*self.lengths)]), strict=False))
        width = max(sum(self.lengths[t][k] + 1 for t, k in row) for row in rows)  # one prompt token before each turn
        index = torch.full((len(rows), width), -1)
        segment = torch.full((len(rows), width), -1)
        for i, row in enumerate(rows):
            at = 0
            for t, k in row:
                n = self.lengths[t][k]
                index[i, at + 1 : at + 1 + n] = starts[t, k] + torch.arange(n)
                segment[i, at + 1 : at + 1 + n] = k
                at += n + 1
        mask = index >= 0

        def laid(values: Tensor) -> Tensor:
            return torch.where(mask, values[index.clamp(min=0)], math.nan)  # what no token has must not matter

        who = torch.tensor([row[0][0] for row in rows])
        value, old = laid(self.new if new is None else new), laid(self.values["old"])
        rho = ratio(value, old, mask, level=level, segments=segment)
        per_token = clipped_loss(rho, self.advantages[who][:, None].expand_as(rho), clip_high=0.28, dual_clip=1.5)
        if importance is not None:
            weights = importance_weights(
                old, laid(self.values["sampler"]), mask, cap=1.5, level=importance, segments=segment
            )
            per_token = per_token * weights
        per_token = per_token + 0.1 * KL["k3"](value, laid(self.values["ref"])) - 0.01 * laid(self.values["entropy"])
        by_turns = how == "seq-mean-turn-mean"
        length = [float(len(own) if by_turns else sum(own)) for own in self.lengths]
        return aggregate(
            per_token,
            mask,
            how,
            normaliser=normaliser,
            sequence_length=torch.tensor(length)[who],
            max_length=32,
        )
