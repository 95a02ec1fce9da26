"""One bridge process in Node. It makes a fresh world when asked to, so that one process serves many episodes."""

from __future__ import annotations

import contextlib
import os
import select
from typing import Literal

from crossagent.plugin import Bridge, BridgeFailed, Unavailable
from crossagent_minecraft import facts
from crossagent_minecraft.node import missing, node, packages, sources

PROTOCOL = 1
START_SECONDS = 60.0


class Link(Bridge):
    """A bridge process of ours."""

    def __init__(self, mode: Literal["embedded", "connect"], chunks: int = 3) -> None:
        """Start the process; it gets ready by itself. Raises :class:`Unavailable` without Node or its packages."""
        if problem := missing():
            raise Unavailable(problem)
        self._renewing = False
        self.lives = 1
        """How many worlds this process has had."""
        script = str(sources() / "main.js")
        super().__init__(
            lambda fd: [node(), script, str(fd), mode, str(facts.path()), str(chunks)],
            name="the Minecraft bridge",
            hello="crossagent-minecraft",
            protocol=PROTOCOL,
            environ={**os.environ, "NODE_PATH": str(packages()), "NODE_OPTIONS": "--max-old-space-size=512"},
            start_seconds=START_SECONDS,
        )

    def ready(self) -> bool:
        """Return whether the process has a fresh world to give, without waiting."""
        if not self._fresh and self.alive and select.select([self._socket], [], [], 0)[0]:
            with contextlib.suppress(BridgeFailed):
                self.wait()
        return self._fresh and self.alive

    @property
    def _fresh(self) -> bool:
        return self._greeted and not self._renewing

    def wait(self) -> None:
        """Wait until the process has a fresh world to give; raises :class:`BridgeFailed`."""
        super().wait()
        if self._renewing:
            self._answer("renew", START_SECONDS)
            self._renewing = False

    def renew(self) -> None:
        """Have the process make a fresh world, as a new one would; does not wait. Raises :class:`BridgeFailed`."""
        self._send("renew", 5.0, {})
        self._renewing = True
        self.lives += 1
