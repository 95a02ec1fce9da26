"""What the ranks of ``test_ranks.py`` do."""

from __future__ import annotations

import os
import signal
from typing import Any

from crossagent.distributed import Ranks


def talk() -> dict[str, Any]:
    """Use every method once."""
    joined = Ranks.join()
    ranks = Ranks.current()
    assert joined == ranks
    found = {
        "where": [ranks.rank, ranks.size, ranks.local_rank, ranks.local_size],
        "first": ranks.is_rank_zero,
        "gather": ranks.all_gather({"rank": ranks.rank, "text": "x" * (1 + 1000 * ranks.rank)}["rank"]),
        "share": ranks.broadcast("of rank 0" if ranks.is_rank_zero else "other"),
        "any": [ranks.any(ranks.rank == 1), ranks.any(False)],
        "total": ranks.all_reduce_sum({"a": 1.0 + ranks.rank, "b": 0.5}),
        "mine": ranks.local_items(range(5)),
        "joined": [ranks.gather_in_order([10 * k for k in ranks.local_items(list(range(n)))]) for n in (0, 1, 5)],
    }
    ranks.barrier()
    ranks.leave()
    assert Ranks.current() == Ranks()
    return found


def die() -> str:
    """Rank 1 is killed while rank 0 waits for it; return what rank 0 is told."""
    ranks = Ranks.join()
    ranks.barrier()
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        ranks.barrier()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("nobody noticed")
