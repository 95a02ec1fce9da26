"""Reinforcement on groups, STRL and MTRL alike, with manual optimisation. One ``training_step`` is one iteration.

Rollout → which groups teach → rows → old and reference log-probs → advantages → M mini-batches × E epochs, each mini-batch
K micro-batches and one optimiser step. With several processes each plays, scores and computes gradients for its part; what
was played and scored is gathered, so that all of them make the same of it.

Everything that is divided by is counted over the whole mini-batch, so neither K, nor the number of processes, nor the
layout of turns in rows changes a gradient, and M·E steps are made however many turns were played.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from crossagent.algorithms import (
    ADVANTAGES,
    KL,
    LOSSES,
    aggregate,
    importance_weights,
    ratio,
)
from crossagent.distributed import Ranks
from crossagent.errors import RecipeError
from crossagent.import_path import ESTIMATOR, LOSS, find_function
from crossagent.policy.model import Policy, Reference, make_reference
from crossagent.rollout.credit import Credits
from crossagent.seeding import rng
from crossagent.training.batch import Batch, Row, collate, micro_batches, rows_from_trajectories, split_over_ranks
from crossagent.training.callbacks import Evaluator
from crossagent.training.config import GRPOConfig
from crossagent.training.data import Iterations, nothing
from crossagent.training.fit import adamw, fit_stage, warmup_constant
from crossagent.training.metrics import (
    CollapseWatch,
    dropped_metrics,
    rollout_metrics,
    single_space_metrics,
    space_entropy,
    space_metrics,
)
from crossagent.training.module import PolicyModule
from crossagent.training.scoring import credits_of
from crossagent.training.sources import GroupSource, Rollouts, live_trajectories, trained_trajectories
from crossagent.training.stage import StageResult, StageRun
from crossagent.training.strategies import accumulating, optimiser_step
from crossagent.training.update_stats import UpdateStats
from crossagent.types import Trajectory

log = logging.getLogger(__name__)


@dataclass
class Scored:
    """Rows with what the frozen passes said about them; each tensor is [tok of its row]."""

    rows: list[Row]
    old: list[Tensor]
    ref: list[Tensor] | None
    entropy: list[Tensor]
    """At the sampling temperature, before the first update; without an old pass, as the update's first epoch saw it."""

    def credits(self, trajectories: Sequence[Trajectory], advantages: Sequence[Sequence[float]]) -> Credits:
        """Return what this iteration made of each turn, for the trajectory store."""
        ref = None if self.ref is None else [values.tolist() for values in self.ref]
        return credits_of(trajectories, advantages, self.rows, [values.tolist() for values in self.old], ref)


class GRPOModule(PolicyModule):
    """Trains a policy on the groups of a source; see this module's first lines for one iteration."""

    automatic_optimization: bool

    def __init__(
        self,
        policy: Policy,
        source: GroupSource,
        config: GRPOConfig,
        *,
        seed: int = 0,
        on_trajectories: Callable[[int, Sequence[Trajectory]], None] = lambda *_: None,
        on_credit: Callable[[int, Sequence[Trajectory], Credits], None] = lambda *_: None,
        reference: Policy | None = None,
    ) -> None:
        """Train ``policy`` in place. If there is a KL term, it is to ``reference``; None: to the policy as it is when
        training begins.

        Raises:
            RecipeError: ``config.estimator`` or ``config.loss`` names a function that does not exist.
        """
        super().__init__(policy)
        self.automatic_optimization = False
        self.source = source
        self.config = config
        self.seed = seed
        self.on_trajectories, self.on_credit = on_trajectories, on_credit
        self.estimator = find_function(config.estimator, ADVANTAGES, ESTIMATOR)
        self.loss_function = find_function(config.loss, LOSSES, LOSS)
        self.watch = CollapseWatch()
        self._reference_policy = [reference or policy]
        self._reference: list[Reference] = []  # in a list, so that its weights are no part of this module
        self._reference_state: dict[str, Tensor] | None = None
        self._at_reference = False
        """The policy is still the reference, weight by weight."""

    # -- one iteration -------------------------------------------------------------------------------------------
    def training_step(self, iteration: Any, batch_idx: int) -> None:
        """Play, score, update."""
        iteration = int(iteration)
        metrics: dict[str, float] = {}
        begun = time.monotonic()
        self.policy.eval()
        with timed("time/rollout", metrics):
            played = self.source.play(iteration)
        if Ranks.current().is_rank_zero:
            self.on_trajectories(iteration + 1, played.trajectories)
        keep = trained_trajectories(played, self.config)
        layout = partial(
            rows_from_trajectories,
            played.trajectories,
            concatenate=self.config.concatenate,
            train=keep,
            segment_weights=self.config.segment_weights,
        )
        rows = layout()
        with timed("time/logprobs", metrics):
            scored = self.score(rows, self._first_trained(rows, iteration))
        advantages = self.advantages(played, scored)
        paid = exploration_weights(rows, scored.old)
        credit = [[a * paid.get(i, 1.0) for a in own] for i, own in enumerate(advantages)]
        scored.rows = layout(credit)
        with timed("time/update", metrics):
            metrics |= self.update(scored, iteration)
        if Ranks.current().is_rank_zero:
            self.on_credit(iteration + 1, played.trajectories, scored.credits(played.trajectories, credit))
        metrics |= _summary(played, keep, advantages, self.source, self.config)
        metrics |= space_entropy(_turn_entropies(scored, played, self.source), self.source.spaces)
        metrics["rollout/episodes_per_second"] = len(played.trajectories) / max(metrics["time/rollout"], 1e-9)
        if self.config.explore_members:
            metrics["explore/trajectories"] = float(len(paid))
            metrics["explore/weight"] = sum(paid.values()) / max(1, len(paid))
        metrics["time/iteration"] = time.monotonic() - begun
        metrics["rollout/tokens_per_second"] = sum(len(r) for r in rows) / max(metrics["time/iteration"], 1e-9)
        self.metrics = metrics
        self.watch.look(iteration + 1, metrics)

    @torch.no_grad()
    def score(self, rows: list[Row], later: Collection[int] = ()) -> Scored:
        """Take old and reference log-probs of every trained token and of the headers that exploring drew, in batches of their
        own (other than the update's), each on one of the ranks; the old ones of the rows ``later`` are the update's, which fills
        them in.
        """
        c = self.config
        width, ranks = len(rows), Ranks.current()
        old, entropy, ref = ([torch.empty(0)] * width for _ in range(3))
        recompute = c.old_logprobs != "sampler"
        batches = [
            [some[i] for i in part]
            for some in ([i for i in range(width) if i not in later], sorted(later) if self._reference else [])
            for part in micro_batches([rows[i] for i in some], c.logprob_batch_tokens, shared=self.policy.packs)
        ]
        for indices in ranks.local_items(batches):
            known = indices[0] not in later
            batch = self._collate([rows[i] for i in indices])
            # A header that was drawn is weighed (exploration_weights) even where its segment does not train.
            asked = (batch.input_ids, batch.attention_mask, batch.loss_mask | batch.explored, c.temperature)
            more: dict[str, Any] = {"allowed": batch.allowed, "images": batch.images, "shared": batch.shared}
            if recompute and known:
                output = self.policy.logprobs(*asked, **more)
                _scatter(old, output.logprobs, indices, rows)
                _scatter(entropy, output.entropy, indices, rows)
            elif known:
                _scatter(old, batch.sampler_logprobs, indices, rows)
            if self._reference:
                if not (self._at_reference and recompute and known):  # else they are the same
                    output = self._reference[0].logprobs(*asked, **more)
                _scatter(ref, output.logprobs, indices, rows)
        old, entropy, ref = (_gathered(values, batches, ranks) for values in (old, entropy, ref))
        return Scored(rows, old, ref if self._reference else None, entropy)

    def _first_trained(self, rows: Sequence[Row], iteration: int) -> frozenset[int]:
        """Return the rows whose old log-probs need no pass of their own: no optimiser step comes before they are trained.

        None with several ranks: what one has taken the others, which may train the row in the next epoch, would not know.
        """
        if self.config.old_logprobs != "reuse" or not rows or Ranks.current().size > 1:
            return frozenset()
        return frozenset(self.minibatches(rows, iteration, 0)[0])

    def advantages(self, played: Rollouts, scored: Scored) -> list[list[float]]:
        """Return one advantage per trajectory and turn; NaN where the member was dropped or its group cannot teach.

        The baseline is over trajectories; only GiGPO's step part looks at turns. What does not train enters no statistic.
        """
        c = self.config
        rewards = [list(r) for r in played.rewards]
        if c.kl_in == "reward" and scored.ref is not None:
            for row, old, ref in zip(scored.rows, scored.old, scored.ref, strict=True):
                penalty = c.kl_coef * KL[c.kl](old, ref)
                for token, (turn, trains) in enumerate(zip(row.turns, row.loss_mask, strict=True)):
                    if trains:
                        rewards[row.trajectory][turn] -= float(penalty[token])
        live = live_trajectories(played, c)
        returns = [sum(own) if alive else math.nan for alive, own in zip(live, rewards, strict=True)]
        anchors: dict[str, int] = {}
        keys = [
            # A turn without a key is a state of its own: it is compared with nothing.
            anchors.setdefault(turn.anchor_key or f"\0{i}/{k}", len(anchors))
            for i, t in enumerate(played.trajectories)
            for k, turn in enumerate(t.turns)
        ]
        flat = self.estimator(
            torch.tensor(returns, dtype=torch.float64).float(),
            torch.tensor([t.group for t in played.trajectories], dtype=torch.int64),
            torch.tensor([r for own in rewards for r in own], dtype=torch.float32),
            torch.tensor([i for i, t in enumerate(played.trajectories) for _ in t.turns], dtype=torch.int64),
            torch.tensor(keys, dtype=torch.int64),
            baseline=c.baseline,
            scale=c.scale,
            gamma=c.gigpo_gamma,
            step_weight=c.gigpo_weight,
        )
        if not isinstance(flat, Tensor) or flat.shape != (len(keys),):
            got = tuple(flat.shape) if isinstance(flat, Tensor) else type(flat).__name__
            raise RecipeError(
                f"estimator: {c.estimator!r} returned {got}; expected a tensor of ({len(keys)},), one per turn"
            )
        values = iter(flat.tolist())
        return [[next(values) for _ in t.turns] for t in played.trajectories]

    def update(self, scored: Scored, iteration: int) -> dict[str, float]:
        """Make the iteration's optimiser steps; returns means over trained tokens. Nothing to train: no step."""
        totals, ranks = UpdateStats(), Ranks.current()
        optimiser, scheduler = self.optimizers(), self.lr_schedulers()
        strategy, parameters = self.trainer.strategy, self.trained_parameters
        looks = self.looks(any(row.images for row in scored.rows))
        self.trained.train()  # for gradient checkpointing; log-probs are taken without dropout in either mode
        for epoch in range(self.config.epochs):
            for indices in self.minibatches(scored.rows, iteration, epoch):
                optimiser.zero_grad()  # type: ignore[union-attr]
                parts = self.shares(scored.rows, indices, ranks.size, looks)
                first = totals.steps == 0
                for number, loss in enumerate(self.losses(scored, indices, totals, first, parts[ranks.rank], looks)):
                    with accumulating(strategy, last=number == len(parts[ranks.rank]) - 1):
                        self.manual_backward(loss * ranks.size)  # gradients are averaged over ranks
                norm = optimiser_step(strategy, optimiser, parameters, self.config.max_grad_norm)
                totals.steps += 1
                if not math.isfinite(norm):
                    log.warning("iteration %d: the gradient is not finite; this step is skipped", iteration + 1)
                    totals.skipped += 1
                    continue
                self._at_reference = False
                totals.norm += norm
                scheduler.step()  # type: ignore[union-attr]
        optimiser.zero_grad()  # type: ignore[union-attr]
        self.trained.eval()
        self.refresh()
        metrics = totals.over(ranks).means()
        metrics["train/lr"] = float(optimiser.param_groups[0]["lr"])  # type: ignore[union-attr]
        if scored.rows:
            if self.config.old_logprobs == "sampler":  # each rank has taken those of its own rows
                known = ranks.all_gather([e if e.numel() else None for e in scored.entropy])
                scored.entropy = [next(e for e in of if e is not None) for of in zip(*known, strict=True)]
            trained = itertools.chain.from_iterable(row.loss_mask for row in scored.rows)
            taken = torch.cat(scored.entropy)[torch.from_numpy(np.fromiter(trained, dtype=bool))]
            metrics["train/entropy"] = float(taken.mean())
        return metrics

    def shares(
        self, rows: Sequence[Row], indices: Sequence[int], size: int, looks: bool = False
    ) -> list[list[list[int]]]:
        """Return, for each of ``size`` ranks, the micro-batches of one optimiser step that it computes.

        They hold places in ``indices``. All ranks make the same number of passes, as their communication demands: those of one
        that has fewer are empty. ``looks``: see ``Policy.logprobs``.
        """
        blank = looks and self.policy.pictures is not None  # beside a blank picture rows are padded
        packs = self.policy.packs and not blank
        asked = [rows[i] for i in indices]
        shares = []
        for own in split_over_ranks(asked, size, shared=packs):
            parts = micro_batches([asked[i] for i in own], self.config.micro_batch_tokens, shared=packs)
            shares.append([[own[k] for k in part] for part in parts])
        passes = max(map(len, shares))
        return [parts + [[]] * (passes - len(parts)) for parts in shares]

    def minibatches(self, rows: Sequence[Row], iteration: int, epoch: int) -> list[list[int]]:
        """Return the rows of each optimiser step: whole trajectories, in a seeded order, in ``minibatches`` even parts.

        Fewer parts only when there are fewer trajectories.
        """
        of: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            of.setdefault(row.trajectory, []).append(index)
        order = sorted(of)
        rng(self.seed, "minibatch", iteration, epoch).shuffle(order)
        parts = min(self.config.minibatches, len(order))
        cuts = [len(order) * k // parts for k in range(parts + 1)] if parts else [0]
        return [[i for t in order[a:b] for i in of[t]] for a, b in itertools.pairwise(cuts)]

    def losses(
        self,
        scored: Scored,
        indices: Sequence[int],
        totals: UpdateStats,
        first: bool,
        parts: Sequence[Sequence[int]] | None = None,
        looks: bool = False,
    ) -> Iterator[Tensor]:
        """Yield the loss of each micro-batch of one optimiser step; over all ranks they add up to the loss of the step.

        Args:
            scored: All rows of the iteration.
            indices: Those of the step.
            totals: Counters to add to.
            first: Whether it is the iteration's first step.
            parts: This rank's micro-batches, places in ``indices``, see :meth:`shares`; None: all rows are its own.
            looks: See ``Policy.logprobs``.
        """
        c = self.config
        rows = [scored.rows[i] for i in indices]
        length = sequence_lengths(rows, "turns" if c.aggregation == "seq-mean-turn-mean" else "tokens")
        divisor = normaliser(rows, c.aggregation)
        for part in self.shares(scored.rows, indices, 1, looks)[0] if parts is None else parts:
            if not part:
                yield self._no_loss(rows, looks)
                continue
            batch = self._collate([rows[i] for i in part])
            mask, width = batch.loss_mask, batch.input_ids.shape[1]
            known = scored.entropy[indices[part[0]]].numel() > 0  # an old pass has taken it
            output = self.trained.logprobs(
                batch.input_ids,
                batch.attention_mask,
                mask,
                c.temperature,
                entropy=c.entropy_coef > 0 or not known,
                entropy_gradient=c.entropy_coef > 0,
                allowed=batch.allowed,
                shared=batch.shared,
                images=batch.images,
                looks=looks,
            )
            if not scored.old[indices[part[0]]].numel():
                _scatter(scored.old, output.logprobs, [indices[i] for i in part], scored.rows)
            old = _padded([scored.old[indices[i]] for i in part], width).to(mask.device)
            rho = ratio(output.logprobs, old, mask, level=c.ratio, segments=batch.turns)
            clips = {"clip_low": c.clip_low, "clip_high": c.clip_high}
            policy_loss = self.loss_function(rho, batch.advantages, **clips, dual_clip=c.dual_clip)
            if c.importance != "none":
                policy_loss = policy_loss * importance_weights(
                    old,
                    batch.sampler_logprobs,
                    mask & ~batch.explored,  # their weight is in the advantages
                    cap=c.importance_cap,
                    level=c.importance_level,
                    mode=c.importance,
                    segments=batch.turns,
                )
            per_token = policy_loss
            kl = None
            if scored.ref is not None:
                ref = _padded([scored.ref[indices[i]] for i in part], width).to(mask.device)
                kl = KL[c.kl](output.logprobs, ref)
                if c.kl_in == "loss":
                    per_token = per_token + c.kl_coef * (rho * kl if c.kl_correction else kl)
            if c.entropy_coef > 0:
                per_token = per_token - c.entropy_coef * output.entropy
            loss = aggregate(
                per_token * batch.weights,
                mask,
                c.aggregation,
                normaliser=divisor,
                sequence_length=torch.tensor(
                    [length[rows[i].trajectory] for i in part], dtype=torch.float32, device=mask.device
                ),
                max_length=c.max_length,
            )
            with torch.no_grad():
                totals.add(loss, rho, KL["k3"](old, output.logprobs), old, batch, clips, kl, first)
                if not known:
                    _scatter(scored.entropy, output.entropy, [indices[i] for i in part], scored.rows)
            yield loss

    def _no_loss(self, rows: Sequence[Row], looks: bool) -> Tensor:
        """Return a loss of 0 whose gradients are 0, not missing: a pass that the other ranks are waiting for."""
        batch = nothing(rows, self.policy.pad_id).to(self.policy.device)
        output = self.trained.logprobs(
            batch.input_ids, batch.attention_mask, batch.loss_mask, entropy=False, images=batch.images, looks=looks
        )
        return output.logprobs.sum() * 0.0

    def _collate(self, rows: Sequence[Row]) -> Batch:
        return collate(rows, self.policy.pad_id).to(self.policy.device)

    # -- what Lightning asks -------------------------------------------------------------------------------------
    def on_fit_start(self) -> None:
        """Refuse a precision that hides the norm of the gradients."""
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise RecipeError(
                "trainer.precision: a loss scaler (16-mixed) hides the norm that gradients are clipped by; expected bf16-mixed or "
                "32-true"
            )

    def on_train_start(self) -> None:
        """Freeze the reference; after a restart it is what it was, not what has been restored into the policy."""
        super().on_train_start()
        if self.config.kl_coef > 0 and not self._reference:
            self._reference = [
                make_reference(self._reference_policy[0], spare=self._reference_policy[0] is not self.policy)
            ]
            self._at_reference = self._reference_policy[0] is self.policy and self._reference_state is None
            if self._reference_state is not None:
                self._reference[0].load_state_dict(self._reference_state)
                self._reference_state = None

    def configure_optimizers(self) -> Any:
        """AdamW; constant after warm-up."""
        c = self.config
        return adamw(self.trained, c.lr, c.betas, c.weight_decay, warmup_constant(c.warmup_steps))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add source, reference, and what the watch has seen."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["crossagent_source"] = self.source.state_dict()
        checkpoint["crossagent_reference"] = self._reference[0].state_dict() if self._reference else {}
        checkpoint["crossagent_watch"] = self.watch.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        super().on_load_checkpoint(checkpoint)
        self.source.load_state_dict(checkpoint["crossagent_source"])
        self._reference_state = checkpoint["crossagent_reference"] or None
        self.watch.load_state_dict(checkpoint["crossagent_watch"])


def _is_free(trajectory: Trajectory, source: GroupSource) -> bool:
    """Return whether it might use every space: not one of a ``single_space_share``."""
    return len(trajectory.spaces) in (0, len(source.spaces))


def _turn_entropies(scored: Scored, played: Rollouts, source: GroupSource) -> list[tuple[str | None, float, int]]:
    """Return (space, sum of the entropy, tokens) of each trained turn in which every space might be used."""
    found = []
    for row, entropy in zip(scored.rows, scored.entropy, strict=True):
        if not _is_free(played.trajectories[row.trajectory], source):
            continue
        owner = torch.where(torch.tensor(row.loss_mask), torch.tensor(row.turns), -1)
        for turn in sorted({t for t in owner.tolist() if t >= 0}):
            mine = entropy[owner == turn]
            space = played.trajectories[row.trajectory].turns[turn].space
            found.append((space, float(mine.double().sum()), len(mine)))
    return found


def _summary(
    played: Rollouts,
    keep: Sequence[bool],
    advantages: Sequence[Sequence[float]],
    source: GroupSource,
    config: GRPOConfig,
) -> dict[str, float]:
    """Return the iteration's numbers about groups, episodes and spaces."""
    returns = played.returns
    groups: dict[int, list[int]] = {}
    for index, trajectory in enumerate(played.trajectories):
        groups.setdefault(trajectory.group, []).append(index)
    live = {g: [i for i in members if returns[i] == returns[i]] for g, members in groups.items()}
    usable = [members for members in live.values() if len(members) >= 2]
    count = max(1, len(usable))
    free = [_is_free(t, source) for t in played.trajectories]
    everything = [i for i, may in enumerate(free) if may]  # every space may be used
    metrics = rollout_metrics(
        [played.trajectories[i] for i in everything], [returns[i] for i in everything], source.weights
    )
    metrics |= single_space_metrics(
        [t for t, may in zip(played.trajectories, free, strict=True) if not may], source.spaces
    )
    metrics |= dropped_metrics(played.trajectories, returns, keep, drop_all_fail=config.drop_all_fail)
    metrics |= {
        "group/zero_variance": sum(len({returns[i] for i in m}) == 1 for m in usable) / count,
        "group/all_fail": sum(not any(played.trajectories[i].success for i in m) for m in usable) / count,
        "group/too_small": float(len(groups) - len(usable)),
        "group/trained": float(sum(any(keep[i] for i in m) for m in groups.values())),
    }
    shown = [i for i in everything if returns[i] == returns[i]]
    credit = [[a if keep[i] else float("nan") for a in advantages[i]] for i in shown]
    metrics |= space_metrics([played.trajectories[i] for i in shown], credit, source.spaces)
    return metrics | dict(played.metrics)


def normaliser(rows: Sequence[Row], aggregation: str) -> float:
    """Return what the loss of one optimiser step is divided by: its trained tokens (``token-mean``), else its trajectories.

    Args:
        rows: *All* rows of the step: of all its micro-batches, and of all processes, were there several. Under DDP, which
            averages gradients over processes, a process's loss is then multiplied by their number.
        aggregation: The recipe's.
    """
    if aggregation == "token-mean":
        return float(sum(row.trained_tokens for row in rows))
    return float(len({row.trajectory for row in rows}))


def sequence_lengths(rows: Sequence[Row], unit: str) -> dict[int, int]:
    """Return trajectory → its trained ``tokens`` or its ``turns``, over all of its rows: a trajectory is never split between
    optimiser steps.
    """
    lengths: dict[int, int] = {}
    for row in rows:
        own = row.trained_tokens if unit == "tokens" else len({t for t in row.turns if t >= 0})
        lengths[row.trajectory] = lengths.get(row.trajectory, 0) + own
    return lengths


def exploration_weights(rows: Sequence[Row], old: Sequence[Tensor]) -> dict[int, float]:
    """Return trajectory → π(header) / μ(header) for those in which a header was drawn uniformly (μ), not by the policy (π).

    Their advantages are multiplied with it; see :mod:`crossagent.rollout.explore`.

    Args:
        rows: Of the trajectories that train.
        old: The policy's log-probs when the rows were played, [tok of the row] each.
    """
    weights: dict[int, float] = {}
    for row, logprobs in zip(rows, old, strict=True):
        drawn = [k for k, explored in enumerate(row.explored) if explored]
        if drawn:
            log_weight = sum(float(logprobs[k]) - row.sampler_logprobs[k] for k in drawn)
            weights[row.trajectory] = weights.get(row.trajectory, 1.0) * math.exp(log_weight)
    return weights


@contextmanager
def timed(name: str, metrics: dict[str, float]) -> Iterator[None]:
    """Write the seconds of the block to ``metrics[name]``."""
    begun = time.monotonic()
    yield
    metrics[name] = time.monotonic() - begun


def _scatter(into: list[Tensor], values: Tensor, indices: Sequence[int], rows: Sequence[Row]) -> None:
    for k, index in enumerate(indices):
        into[index] = values[k, : len(rows[index])].detach().cpu().clone()


def _gathered(values: list[Tensor], batches: Sequence[Sequence[int]], ranks: Ranks) -> list[Tensor]:
    """Return the values of all rows, of which each rank has those of its own ``batches``."""
    if ranks.size == 1:
        return values
    mine = [values[i] for indices in ranks.local_items(batches) for i in indices]
    flat = torch.cat(mine) if mine else torch.empty(0)  # one tensor: thousands take as long as the passes
    whole = list(values)
    for rank, (found, lengths) in enumerate(ranks.all_gather((flat, [len(value) for value in mine]))):
        theirs = [i for indices in batches[rank :: ranks.size] for i in indices]
        for index, value in zip(theirs, found.split(lengths), strict=True):
            whole[index] = value
    return whole


def _padded(values: Sequence[Tensor], width: int) -> Tensor:
    result = torch.zeros(len(values), width, dtype=torch.float32)
    for k, value in enumerate(values):
        result[k, : len(value)] = value
    return result


def train_grpo(
    policy: Policy, source: GroupSource, config: GRPOConfig, run: StageRun, *, reference: Policy | None = None
) -> StageResult:
    """Train ``policy`` in place on what ``source`` plays; writes ``metrics.jsonl`` and ``checkpoint/``.

    One row of metrics per iteration. A stage that was stopped goes on from its resume point, bit by bit. With
    ``keep: best`` the checkpoint, and ``policy``, are the best of those that ``run.evaluate`` saw. The KL is to ``reference``;
    None: to ``policy`` as it begins.

    Raises:
        RecipeError: ``evaluate_every`` without ``run.evaluate``.
        StageInterrupted: SIGTERM came.
    """
    if config.evaluate_every and run.evaluate is None:
        raise RecipeError(f"{run.name}.evaluate_every: this run has nothing to evaluate with; set it to 0")
    module = GRPOModule(
        policy,
        source,
        config,
        seed=run.seed,
        on_trajectories=run.on_trajectories,
        on_credit=run.on_credit,
        reference=reference,
    )
    callbacks: list[lightning.Callback] = []
    if config.evaluate_every and run.evaluate is not None:
        callbacks.append(Evaluator(run.evaluate, config.evaluate_every, config.keep == "best", run.directory))
    return fit_stage(
        module,
        Iterations(config.iterations),
        run,
        per_step=1,
        checkpoint_every=config.checkpoint_every,
        max_grad_norm=config.max_grad_norm,
        callbacks=callbacks,
    )
