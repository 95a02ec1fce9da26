"""Where this process stands among those of the run, and what they tell each other. Alone, nothing here needs torch.

Every method but :meth:`Ranks.local_items` and :meth:`Ranks.gather_in_order` is collective: all ranks call it, in the same order, or all of
them wait. Values travel pickled, between processes of one run and never to or from a file. With several kinds of devices
they go over the CPUs (gloo), which notice at once when a rank dies: the call then raises.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from crossagent.errors import CrossAgentError

T = TypeVar("T")
START = timedelta(minutes=10)
"""How long a rank waits for the others to start; on a cluster they do not start at once."""
PATIENCE = timedelta(hours=24)
"""How long it waits for one that is alive: rank 0 may evaluate alone for hours. A dead one ends the wait at once."""


@dataclass(frozen=True)
class Ranks:
    """This process, rank ``rank`` of ``size``; on this machine, number ``local_rank`` of ``local_size``."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """Return what the process group says that :meth:`join` (or Lightning) has made; without one, a process alone."""
        if "torch" not in sys.modules:  # then nobody has made one
            return cls()
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        size = dist.get_world_size()
        return cls(dist.get_rank(), size, _number("LOCAL_RANK", "0"), _number("LOCAL_WORLD_SIZE", str(size)))

    @classmethod
    def join(cls, accelerator: str = "cpu") -> Ranks:
        """Meet the other processes that a launcher started, as ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and
        ``MASTER_PORT`` say; without those variables, or with a size of 1, be alone.

        Args:
            accelerator: The recipe's; where that is CUDA, tensors travel over NCCL and everything else over gloo.

        Raises:
            CrossAgentError: The variables make no sense, or the others did not come in time.
        """
        rank, size = _number("RANK", "0"), _number("WORLD_SIZE", "1")
        if size <= 1:
            return cls()
        import torch
        import torch.distributed as dist

        if dist.is_initialized():
            return cls.current()
        if rank >= size:
            raise CrossAgentError(f"environment: got RANK={rank} of WORLD_SIZE={size}; expected 0 … {size - 1}")
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK") if not os.environ.get(name)]
        if missing:
            raise CrossAgentError(
                f"environment: WORLD_SIZE={size}, but {', '.join(missing)} not set; expected what torchrun sets. "
                "Fix: start through `crossagent run` or torchrun, or unset WORLD_SIZE to run in one process"
            )
        cuda = accelerator in ("cuda", "gpu", "auto") and torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(_number("LOCAL_RANK", "0"))
        try:
            store, _, _ = next(dist.rendezvous("env://", rank, size, timeout=START))
            store.set(f"here/{rank}", "")
            store.wait([f"here/{other}" for other in range(size)], START)
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE
            )
        except (RuntimeError, ValueError, OSError) as error:
            place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise CrossAgentError(
                f"rank {rank} of {size} could not meet the others at {place} ({str(error).splitlines()[0]}). "
                "Check that all of them were started, and that MASTER_ADDR and MASTER_PORT can be reached from here"
            ) from error
        return cls.current()

    def leave(self) -> None:
        """Take leave of the others, at the very end; what they still wait for never comes."""
        if self.size > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is rank 0, which alone writes files."""
        return self.rank == 0

    # -- what they tell each other ---------------------------------------------------------------------------------
    def all_gather(self, value: T) -> list[T]:
        """Return every rank's value, in the order of ranks, on all of them."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on all ranks; what the others give is not looked at."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        values = [value if self.is_rank_zero else None]
        dist.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[return-value]

    def any(self, flag: bool) -> bool:
        """Return whether it is true on any rank."""
        return any(self.all_gather(bool(flag)))

    def all_reduce_sum(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return the sum over ranks of each number; added in the order of ranks, so that all get the same bits."""
        gathered = self.all_gather(dict(numbers))
        return {name: sum(one[name] for one in gathered) for name in numbers}

    def barrier(self) -> None:
        """Return when all ranks are here."""
        self.all_gather(None)

    # -- who does what ---------------------------------------------------------------------------------------------
    def local_items(self, items: Sequence[T]) -> list[T]:
        """Return this rank's part of a list that all ranks have: dealt out one by one, so that like neighbours spread."""
        return list(items[self.rank :: self.size])

    def gather_in_order(self, parts: Iterable[T]) -> list[T]:
        """Gather what each rank made of :meth:`local_items`, one for one, and return it in the order of the whole list."""
        gathered = self.all_gather(list(parts))
        whole: list[T] = []
        for place in range(max(map(len, gathered))):
            whole += [part[place] for part in gathered if place < len(part)]
        return whole


ALONE = Ranks()
"""A process that runs by itself."""


def _number(name: str, default: str) -> int:
    text = os.environ.get(name, default)
    try:
        return int(text)
    except ValueError as error:
        raise CrossAgentError(f"environment: got {name}={text!r}; expected the number that torchrun sets") from error
