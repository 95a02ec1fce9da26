"""Bridges with a fresh world, ready before one is asked for. An episode's world is never played on: its process makes a new
one (nothing but loaded modules is kept), which equals that of a new process and costs a fifth of the time.
"""

from __future__ import annotations

from functools import cache

from crossagent.plugin import BridgeFailed
from crossagent_minecraft.link import Link

LIVES = 64
"""Worlds of one process, after which it is replaced: what leaks in the libraries goes with it."""


class Pool:
    """A stock of embedded bridges of one kind; shared by the worlds of a process."""

    def __init__(self, chunks: int) -> None:
        """``chunks``: along a side of the world."""
        self.chunks = chunks
        self._stock: list[Link] = []

    def take(self, spare: int) -> Link:
        """Return a bridge, a ready one if there is one, and see to it that ``spare`` more are on their way."""
        for link in [link for link in self._stock if not link.alive]:
            link.close()
            self._stock.remove(link)
        taken = next((link for link in self._stock if link.ready()), None)
        if taken is None:
            taken = self._stock[0] if self._stock else Link("embedded", self.chunks)
        if taken in self._stock:
            self._stock.remove(taken)
        while len(self._stock) < spare:
            self._stock.append(Link("embedded", self.chunks))
        return taken

    def give_back(self, link: Link, spare: int) -> None:
        """Take back a bridge whose episode is over; with enough in stock, or after many worlds, it is ended."""
        if link.alive and link.lives < LIVES and len(self._stock) < spare:
            try:
                link.renew()
                self._stock.append(link)
                return
            except BridgeFailed:
                pass
        link.close()

    def stocked(self) -> int:
        """Return how many bridges are ready."""
        return sum(link.ready() for link in self._stock)

    def close(self) -> None:
        """End every bridge in stock."""
        for link in self._stock:
            link.close()
        self._stock = []


@cache
def pool(chunks: int) -> Pool:
    """Return this process's pool of bridges for worlds of that size."""
    return Pool(chunks)
