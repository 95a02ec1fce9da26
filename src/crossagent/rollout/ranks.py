"""Several processes that play together, as far as playing needs to know: :class:`crossagent.distributed.Ranks` is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ranks(Protocol):
    """Every process has the whole list, takes its part of it, and gets what all made of theirs."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def mine(self, items: Sequence[T]) -> list[T]:
        """Return this process's part."""

    def joined(self, parts: Iterable[T]) -> list[T]:
        """Return what all processes made of their parts, one for one, in the order of the whole list; all of them call it."""

    def gather(self, value: T) -> list[T]:
        """Return every process's value, in order; all of them call it."""


class _Alone:
    size = 1

    def mine(self, items: Sequence[T]) -> list[T]:
        return list(items)

    def joined(self, parts: Iterable[T]) -> list[T]:
        return list(parts)

    def gather(self, value: T) -> list[T]:
        return [value]


ALONE: Ranks = _Alone()
"""A process that plays by itself."""
