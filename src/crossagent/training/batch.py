"""Trajectories and demonstrations → rows → padded tensors. The only place that knows padding.

Two facts are kept apart: ``response_mask`` (the policy sampled this token) and ``loss_mask`` (it trains). Neither is ever
inferred from ids or roles: an id equal to the padding is a token like any other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from crossagent.envs.recording import images_of
from crossagent.policy.token_sets import Allowed
from crossagent.rollout.loop import written
from crossagent.rollout.segments import token_segments
from crossagent.types import TokenSet, Trajectory, Turn

if TYPE_CHECKING:
    from crossagent.envs.recording import Demonstration
    from crossagent.policy.prompt import PromptFormat


@dataclass(frozen=True, slots=True)
class Row:
    """One training sequence: a turn, or several turns whose prompts extend each other exactly."""

    input_ids: tuple[int, ...]
    response_mask: tuple[bool, ...]
    """[tok] The policy sampled it: not the prompt, not what an environment or a template wrote, not a forced header."""
    loss_mask: tuple[bool, ...]
    """[tok] It trains; a subset of ``response_mask``."""
    sampler_logprobs: tuple[float, ...]
    """[tok] As the sampler reported them; 0 elsewhere."""
    advantages: tuple[float, ...]
    """[tok] 0 where nothing trains."""
    turns: tuple[int, ...]
    """[tok] Index of the turn a sampled token belongs to, −1 elsewhere."""
    trajectory: int
    """Index of the trajectory in the list the rows were made from."""
    space: str = ""
    """The space of its only turn; empty for several turns, or none."""
    weights: tuple[float, ...] = ()
    """[tok] What the token's loss is multiplied with; () is 1 everywhere."""
    explored: tuple[bool, ...] = ()
    """[tok] Drawn uniformly, not by the policy (the header of an explored turn); () is nowhere."""
    allowed: tuple[tuple[int, TokenSet], ...] = ()
    """(token, the ids that could be drawn there), where the sampler was constrained."""
    shared: int = 0
    """First tokens that other rows have too and that a training pass computes once; see :func:`with_shared`."""
    images: tuple[bytes, ...] = ()
    """PNG bytes of the pictures in ``input_ids``, in the order of their places."""

    def __post_init__(self) -> None:
        length = len(self.input_ids)
        for name in ("response_mask", "loss_mask", "sampler_logprobs", "advantages", "turns"):
            if len(getattr(self, name)) != length:
                raise ValueError(f"Row.{name} has {len(getattr(self, name))} entries for {length} input_ids")
        if self.response_mask and self.response_mask[0]:
            raise ValueError("the first token of a row is sampled: a response needs a prompt that predicts it")
        if any(train and not sampled for train, sampled in zip(self.loss_mask, self.response_mask, strict=True)):
            raise ValueError("loss_mask trains a token that was not sampled")
        for name in ("weights", "explored"):
            if len(getattr(self, name)) not in (0, length):
                raise ValueError(f"Row.{name} has {len(getattr(self, name))} entries for {length} input_ids")

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def trained_tokens(self) -> int:
        """Number of tokens that train."""
        return sum(self.loss_mask)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the right. Padding has mask 0 everywhere; checked at construction."""

    input_ids: Tensor
    """[row, tok] int64."""
    attention_mask: Tensor
    """[row, tok] int64, 1 for real tokens."""
    response_mask: Tensor
    """[row, tok] bool."""
    loss_mask: Tensor
    """[row, tok] bool."""
    sampler_logprobs: Tensor
    """[row, tok] fp32."""
    advantages: Tensor
    """[row, tok] fp32."""
    turns: Tensor
    """[row, tok] int64, −1 where nothing was sampled."""
    trajectory: Tensor
    """[row] int64."""
    weights: Tensor
    """[row, tok] fp32: what the token's loss is multiplied with."""
    explored: Tensor
    """[row, tok] bool: drawn uniformly, not by the policy."""
    shared: Tensor
    """[row] int64: see ``Row.shared``."""
    allowed: Allowed = ()
    """See ``Policy.logprobs``."""
    images: Sequence[tuple[bytes, ...]] = ()
    """The pictures of each row; () where no row has any."""

    def __post_init__(self) -> None:
        shape = self.input_ids.shape
        for name in (
            "attention_mask",
            "response_mask",
            "loss_mask",
            "sampler_logprobs",
            "advantages",
            "turns",
            "weights",
            "explored",
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"Batch.{name} is {tuple(getattr(self, name).shape)}; input_ids are {tuple(shape)}")
        for name in ("trajectory", "shared"):
            if getattr(self, name).shape != shape[:1]:
                raise ValueError(f"Batch.{name} is {tuple(getattr(self, name).shape)}; there are {shape[0]} rows")

    def to(self, device: torch.device | str) -> Batch:
        """Return it on a device."""
        parts: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            parts[name] = value.to(device) if isinstance(value, Tensor) else value
        return Batch(**parts)


TurnAdvantages = Sequence[float] | Sequence[Sequence[float]]


def rows_from_trajectories(
    trajectories: Sequence[Trajectory],
    advantages: TurnAdvantages | None = None,
    *,
    concatenate: bool = False,
    train: Sequence[bool] | None = None,
    segment_weights: Mapping[str, float] | None = None,
) -> list[Row]:
    """Return the rows of what was played, in the order of trajectories and turns.

    Args:
        trajectories: Played episodes; ids are used as they were sampled.
        advantages: Per trajectory one number, or one per turn; NaN leaves the trajectory out, as a failure. None: all 0.
        concatenate: Join successive turns into one row as long as each prompt extends all ids before it exactly; where one
            does not, a new row begins. The gradient is the same.
        train: Per trajectory, whether it makes rows at all; None: all of them.
        segment_weights: Name of a segment → what the loss of its tokens is multiplied with, else 1; at 0 they do not train.
    """
    rows: list[Row] = []
    for index, trajectory in enumerate(trajectories):
        per_turn = _per_turn(advantages, index, len(trajectory.turns))
        if any(math.isnan(a) for a in per_turn) or (train is not None and not train[index]):
            continue
        rows += _rows_of(trajectory.turns, per_turn, index, concatenate, segment_weights or {})
    return with_shared(rows)


def rows_from_demonstrations(
    demonstrations: Iterable[Demonstration],
    prompt: PromptFormat,
    *,
    concatenate: bool = False,
    last_only: bool = False,
    segment_weights: Mapping[str, float] | None = None,
) -> list[Row]:
    """Return the rows that teach demonstrated actions: prompts as in playing, the action's tokens trained, end of turn too.

    Where the prompt lists a single space its header is forced in playing, and so is not trained here.

    Args:
        demonstrations: Recorded or relabelled episodes.
        prompt: Writes prompts and responses.
        concatenate: As in :func:`rows_from_trajectories`.
        last_only: Train each demonstration's last turn alone; the others are its history.
        segment_weights: As in :func:`rows_from_trajectories`.
    """
    rows: list[Row] = []
    for index, demo in enumerate(demonstrations):
        history: list[tuple[str, tuple[int, ...]]] = []
        turns: list[Turn] = []
        images = images_of(demo.turns)
        for number, turn in enumerate(demo.turns):
            response = prompt.response_ids(turn.text, turn.space)
            ids, pictures = written(
                prompt, demo.instruction, demo.spaces, history, turn.observation, images[: number + 1]
            )
            turns.append(
                Turn(
                    prompt_ids=ids,
                    image=turn.image,
                    pictures=pictures,
                    response_ids=response,
                    sampler_logprobs=(0.0,) * len(response),
                    forced=len(prompt.forced_ids(turn.space)) if len(demo.spaces) == 1 else 0,
                    space=turn.space,
                    segments=token_segments(response, turn.text, turn.segments, prompt.decode),
                )
            )
            history.append((turn.observation, response))
        if last_only:
            turns = turns[-1:]
        rows += _rows_of(turns, [0.0] * len(turns), index, concatenate, segment_weights or {})
    return rows


def _per_turn(advantages: TurnAdvantages | None, index: int, turns: int) -> list[float]:
    if advantages is None:
        return [0.0] * turns
    own = advantages[index]
    if isinstance(own, Sequence):
        if len(own) != turns:
            raise ValueError(f"trajectory {index} has {turns} turns but {len(own)} advantages")
        return [float(a) for a in own]
    return [float(own)] * turns


def _rows_of(
    turns: Sequence[Turn],
    advantages: Sequence[float],
    trajectory: int,
    concatenate: bool,
    segment_weights: Mapping[str, float],
) -> Iterator[Row]:
    ids: list[int] = []
    start: list[tuple[int, int]] = []  # (turn, where its response begins in ids)
    for index, turn in enumerate(turns):
        before = len(ids)
        if start and not (concatenate and turn.prompt_ids[:before] == tuple(ids)):
            yield _row(ids, start, turns, advantages, trajectory, segment_weights)
            ids, start, before = [], [], 0
        ids += turn.prompt_ids[before:]
        start.append((index, len(ids)))
        ids += turn.response_ids
    if start:
        yield _row(ids, start, turns, advantages, trajectory, segment_weights)


def _row(
    ids: list[int],
    starts: list[tuple[int, int]],
    turns: Sequence[Turn],
    advantages: Sequence[float],
    trajectory: int,
    segment_weights: Mapping[str, float],
) -> Row:
    length = len(ids)
    weights, explored = [1.0] * length, [False] * length
    allowed: list[tuple[int, TokenSet]] = []
    sampled, logprobs, credit, owner = [False] * length, [0.0] * length, [0.0] * length, [-1] * length
    for index, at in starts:
        turn = turns[index]
        parts = iter((*turn.segments, ("", len(turn.response_ids))))
        weight, (name, begins) = 1.0, next(parts)
        for k in range(len(turn.response_ids)):
            while k == begins:
                weight, (name, begins) = segment_weights.get(name, 1.0), next(parts)
            weights[at + k], explored[at + k] = weight, k < turn.explored
            if turn.allowed and turn.allowed[k]:
                allowed.append((at + k, turn.allowed[k]))
        for k in range(turn.forced, len(turn.response_ids)):
            sampled[at + k], logprobs[at + k] = True, turn.sampler_logprobs[k]
            credit[at + k], owner[at + k] = advantages[index], index
    return Row(
        input_ids=tuple(ids),
        response_mask=tuple(sampled),
        loss_mask=tuple(s and w > 0 for s, w in zip(sampled, weights, strict=True)),
        sampler_logprobs=tuple(logprobs),
        advantages=tuple(credit),
        turns=tuple(owner),
        trajectory=trajectory,
        space=(turns[starts[0][0]].space or "") if len(starts) == 1 else "",
        weights=tuple(weights) if segment_weights else (),
        explored=tuple(explored) if any(explored) else (),
        allowed=tuple(allowed),
        images=(
            *turns[starts[0][0]].pictures,
            *(turns[index].image for index, _ in starts[1:] if turns[index].pictures),
        ),
    )


WIDTH = 16
"""Batches are a multiple of this wide: attention on a CPU then sums in the same order however long the other rows are, so
that a row's log-probs do not depend, not even in the last bit, on the batch it stands in (measured up to 192 tokens)."""


def collate(rows: Sequence[Row], pad_id: int) -> Batch:
    """Pad rows on the right to the longest of them, rounded up to a multiple of ``WIDTH``.

    Raises:
        ValueError: There is no row.
    """
    if not rows:
        raise ValueError("collate: no rows; an iteration without any has nothing to train")
    shape = (len(rows), _width(max(len(row) for row in rows)))
    ids, attention = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64)
    sampled, trained = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    logprobs, advantages = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    turns = np.full(shape, -1, np.int64)
    weights, explored = np.ones(shape, np.float32), np.zeros(shape, np.bool_)
    for i, row in enumerate(rows):
        n = len(row)
        ids[i, :n], attention[i, :n] = row.input_ids, 1
        sampled[i, :n], trained[i, :n] = row.response_mask, row.loss_mask
        logprobs[i, :n], advantages[i, :n] = row.sampler_logprobs, row.advantages
        turns[i, :n] = row.turns
        if row.weights:
            weights[i, :n] = row.weights
        if row.explored:
            explored[i, :n] = row.explored
    return Batch(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(attention),
        response_mask=torch.from_numpy(sampled),
        loss_mask=torch.from_numpy(trained),
        sampler_logprobs=torch.from_numpy(logprobs),
        advantages=torch.from_numpy(advantages),
        turns=torch.from_numpy(turns),
        trajectory=torch.tensor([row.trajectory for row in rows]),
        weights=torch.from_numpy(weights),
        explored=torch.from_numpy(explored),
        shared=torch.tensor([row.shared for row in rows]),
        allowed=tuple((i, at, tokens) for i, row in enumerate(rows) for at, tokens in row.allowed),
        images=tuple(row.images for row in rows) if any(row.images for row in rows) else (),
    )


def micro_batches(rows: Sequence[Row], token_budget: int, *, shared: bool = False) -> list[list[int]]:
    """Return indices of ``rows`` in batches of like length, each of at most ``token_budget`` tokens, padding included.

    Longest first, so that memory peaks at once; ties keep their order. A row longer than the budget stands alone; every row
    is in exactly one batch. With ``shared``, for a policy that ``packs``, rows that share a beginning stay together, and it
    counts once.
    """
    families: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i)):
        families.setdefault(rows[index].input_ids[: rows[index].shared] if shared else (), []).append(index)
    batches: list[list[int]] = []
    before = beginning = widest = count = 0  # of the last batch: tokens of its other families; those of this one
    for start, family in families.items():
        before, beginning, widest, count = before + beginning + count * widest, len(start), 0, 0
        whole = beginning + len(family) * _width(len(rows[family[0]]) - beginning)
        if beginning and before + whole > token_budget:
            before = token_budget  # a family that would be torn begins a batch: its beginning is computed once
        for index in family:
            rest = max(widest, _width(len(rows[index]) - beginning))
            if batches and before + beginning + (count + 1) * rest <= token_budget:
                batches[-1].append(index)
                widest, count = rest, count + 1
            else:
                batches.append([index])
                before, widest, count = 0, _width(len(rows[index]) - beginning), 1
    return batches


_PIECES = 4
"""What a rank has to do is dealt out in pieces of at most this part of it, so that ranks end about together."""


def split_over_ranks(rows: Sequence[Row], size: int, *, shared: bool = False) -> list[list[int]]:
    """Deal rows to ``size`` ranks that are to compute about as many tokens; return the indices of each, ascending.

    Rows that share a beginning stay together, unless they are much: a beginning is computed once per rank.

    Args:
        rows: All of them.
        size: Ranks.
        shared: Beginnings that rows share are computed once; else each row by itself.
    """
    if size == 1:
        return [list(range(len(rows)))]
    families: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i)):
        row = rows[index]
        families.setdefault(row.input_ids[: row.shared] if shared and row.shared else (-1, index), []).append(index)
    begin = [len(start) if start[0] >= 0 else 0 for start in families]
    rests = [[_width(len(rows[i]) - b) for i in family] for b, family in zip(begin, families.values(), strict=True)]
    most = (sum(begin) + sum(map(sum, rests))) / size / _PIECES
    pieces: list[tuple[int, int, list[int]]] = []  # tokens without the beginning, family, rows
    for number, family in enumerate(families.values()):
        parts = min(len(family), -(-sum(rests[number]) // max(1, int(most))))
        for part in range(parts):
            pieces.append((sum(rests[number][part::parts]), number, family[part::parts]))
    load, has = [0] * size, [set[int]() for _ in range(size)]
    given: list[list[int]] = [[] for _ in range(size)]
    for tokens, number, members in sorted(pieces, key=lambda piece: (-piece[0] - begin[piece[1]], piece[2][0])):
        after = [load[r] + tokens + (0 if number in has[r] else begin[number]) for r in range(size)]
        rank = after.index(min(after))
        load[rank] = after[rank]
        has[rank].add(number)
        given[rank] += members
    return [sorted(own) for own in given]


_WORTH = 32
"""Tokens that sharing a beginning has to save."""


def with_shared(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with ``shared`` set, so that a pass over all of them runs on fewer tokens.

    A row shares with at most one set of others; never a token that was sampled. What is shared follows from all of these rows,
    not from the batches they are computed in, so that a row's log-probs do not depend on those. Nothing is shared where there are
    pictures: equal ids may hold the places of different ones.
    """
    if any(row.images for row in rows):
        return list(rows)
    limits = [_limit(row) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (rows[i].input_ids[: limits[i]], i))
    starts = [rows[i].input_ids[: limits[i]] for i in order]
    common = [_in_common(one, other) for one, other in itertools.pairwise(starts)]
    shared = [0] * len(rows)
    for first, last, length in _families(common, 0, len(order) - 1)[1]:
        for at in range(first, last + 1):
            shared[order[at]] = length
    return [
        row if row.shared == number else replace(row, shared=number) for row, number in zip(rows, shared, strict=True)
    ]


def _limit(row: Row) -> int:
    """Return how many first tokens could be another row's too: up to the first that was sampled."""
    return next((k for k, sampled in enumerate(row.response_mask) if sampled), len(row) - 1)


def _in_common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many first ids two sequences have in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # the first ``low`` are the same; more than ``high`` are not
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _families(common: Sequence[int], first: int, last: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Return what sharing saves in the rows ``first`` … ``last`` of a sorted list, and (first, last, tokens) of each set.

    ``common`` says what each row has in common with the next. Either all share what all have in common, or the list falls
    apart where neighbours have the least in common.
    """
    if first >= last:
        return 0, []
    least = min(common[first:last])
    saved, begin = 0, first
    found: list[tuple[int, int, int]] = []
    for end in range(first, last + 1):
        if end == last or common[end] == least:
            more, sets = _families(common, begin, end)
            saved, found, begin = saved + more, found + sets, end + 1
    together = least * (last - first) - _WORTH
    return (together, [(first, last, least)]) if together > max(saved, 0) else (saved, found)


def _width(longest: int) -> int:
    return -(-longest // WIDTH) * WIDTH
