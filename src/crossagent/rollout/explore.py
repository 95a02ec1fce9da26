"""Drawing the space uniformly for one turn of some members of a group, so that no space starves; and paying for it.

Under the policy a rare space is rarely tried, and what is not tried cannot be reinforced. An exploring member takes *one*
turn, at a place drawn beforehand, in a space drawn uniformly from the allowed ones; everything else it does, it does as
the policy. The trajectory is then one of another distribution, and its gradient counts π(header) / μ(header) times, μ the
uniform draw: an unbiased estimate (importance sampling) wherever the policy opens a response with one of the headers. As
only one header is drawn from μ, that weight is at most the number of spaces, and needs no cap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from crossagent.seeding import rng


def explored_turn(member: int, members: int, turns: int, *place: int) -> int | None:
    """Return the turn at which this member explores, None for one that does not.

    Args:
        member: Index in its group; the first ``members`` explore.
        members: How many do.
        turns: The turn is drawn from the first so many.
        place: Seed of the run, step, group.
    """
    seed, *where = place
    return rng(seed, "explore turn", *where, member).randrange(turns) if member < members else None


def draw_space(spaces: Sequence[str], *place: int) -> str:
    """Return a space, uniformly; ``place`` is (seed, step, group, member, turn)."""
    seed, *where = place
    return rng(seed, "explore space", *where).choice(list(spaces))


def header_logprobs(headers: Mapping[str, Sequence[int]], space: str) -> tuple[float, ...]:
    """Return the log-prob of each token of a space's header when the space is drawn uniformly from ``headers``.

    They add up to −log(number of spaces); a token that several headers share is as likely as these are together.
    """
    header = tuple(headers[space])
    alike = [sum(tuple(other[:k]) == header[:k] for other in headers.values()) for k in range(len(header) + 1)]
    return tuple(math.log(after / before) for before, after in itertools.pairwise(alike))
