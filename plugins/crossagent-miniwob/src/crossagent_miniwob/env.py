"""The environment: episodes on MiniWoB++'s pages, with a virtual clock of 20 ticks a second."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from crossagent.plugin import Environment, Event, Observation, RawTick, Task, TickLimit
from crossagent_miniwob import fields
from crossagent_miniwob.browser import BrowserFailed, chromium
from crossagent_miniwob.interfaces import ControlInterface, PointerInterface
from crossagent_miniwob.observe import listing
from crossagent_miniwob.page import SIZE, Hand, Page, View
from crossagent_miniwob.skills import SkillsInterface

LONGEST_STILL = 30
"""Ticks that a gesture waits for an animation to end."""


class MiniWob(Environment):
    """MiniWoB++ in headless Chromium, a tab per world.

    Args:
        observation: ``text``, ``pixels`` (the text is the instruction alone) or ``both``.
        camera_quantum: Mouse pixels; movements of ``control`` are rounded to multiples of it.
        camera_limit: Largest movement of one tick along an axis, a multiple of the quantum.
        elements: The most elements that the text lists.
        data: Which problems a page draws, where it knows two kinds: ``train``, ``test`` or ``default``.
    """

    name = "miniwob"

    def __init__(
        self,
        observation: Literal["text", "pixels", "both"] = "text",
        camera_quantum: int = 2,
        camera_limit: int = 80,
        elements: int = 40,
        data: Literal["default", "train", "test"] = "default",
    ) -> None:
        super().__init__()
        if observation not in ("text", "pixels", "both"):
            raise ValueError(f"observation: got {observation!r}; expected 'text', 'pixels' or 'both'")
        if not 1 <= camera_quantum <= camera_limit <= max(SIZE) or camera_limit % camera_quantum:
            raise ValueError(
                f"camera_quantum, camera_limit: got {camera_quantum}, {camera_limit}; expected 1 ≤ camera_quantum ≤ "
                f"camera_limit ≤ {max(SIZE)}, the limit a multiple of the quantum"
            )
        if not 1 <= elements <= 500:
            raise ValueError(f"elements: got {elements}; expected 1…500")
        if data not in ("default", "train", "test"):
            raise ValueError(f"data: got {data!r}; expected 'default', 'train' or 'test'")
        chromium()  # what is missing is said once, before a run begins
        fields.package()
        self.camera_quantum, self.camera_limit = camera_quantum, camera_limit
        self._observation, self._most, self._data = observation, elements, data
        self._page = Page()
        self._task: Task | None = None
        self._seed = 0
        self._view: View | None = None
        self._values: dict[str, str] | None = None
        self._deferred: RawTick | None = None
        self.pointer = PointerInterface(self)
        self._interfaces = {
            "control": ControlInterface(self),
            "pointer": self.pointer,
            "skills": SkillsInterface(self),
        }

    # -- the episode ---------------------------------------------------------------------------------------------
    def reset(self, task: Task, seed: int) -> Observation:
        """Load the task's page afresh; everything it draws comes from the seed, as in MiniWoB++ itself."""
        self.begin_episode()
        self._task, self._seed, self._view, self._values, self._deferred = task, seed, None, None, None
        self.pointer.reset()
        self._load()
        return self.observe()

    def tick(self, raw: RawTick) -> None:
        """Advance one tick; every interface comes down to this. Does nothing once the episode is over.

        The last tick that a :meth:`tick_limit` allows is played when something is looked at after it: lowering goes back
        right away, and then the page need not be loaded and brought here again.
        """
        if self.over:
            return
        self._catch_up()
        if self.over:
            return  # type: ignore[unreachable]  # catching up may have ended the episode
        self.begin_tick(raw)
        if self._ticks_left == 0:
            self._deferred = raw
        else:
            self._play(raw)

    def settle(self) -> None:
        """Let the page's own animation end, for so many ticks at most."""
        for _ in range(LONGEST_STILL):
            if self.over or self.still:
                return
            self.tick(RawTick())

    def _catch_up(self) -> None:
        if self._deferred is None:
            return
        if self._ticks_left == 0:
            raise TickLimit
        raw, self._deferred = self._deferred, None
        self._play(raw)

    def _play(self, raw: RawTick) -> None:
        self._view = None
        self._page.play(raw)
        status = self._page.status
        if status.done:
            self.total_reward = status.reward
            self.success, self.terminated = status.reward > 0, True
            self.emit(Event("task", "solved" if self.success else "failed"))
        elif len(self.tick_log) >= self.task.max_ticks:
            self.truncated = True

    def _load(self) -> None:
        self._page.begin(self.task.setup["page"], self._seed, self._data)

    # -- what there is to see ------------------------------------------------------------------------------------
    @property
    def task(self) -> Task:
        """The task of the present episode."""
        if self._task is None:
            raise RuntimeError("no episode has begun; reset first")
        return self._task

    @property
    def view(self) -> View:
        """What is on the page now. Raises :class:`TickLimit` inside a limit that is used up."""
        self._catch_up()
        if self._view is None:
            self._view = self._page.look()
        return self._view

    @property
    def values(self) -> dict[str, str]:
        """The named values of the instruction."""
        if self._values is None:
            self._values = fields.fields(self.task.setup["page"], self.view.told)
        return self._values

    @property
    def hand(self) -> Hand:
        """The mouse and the keys; read only."""
        self._catch_up()
        return self._page.hand

    @property
    def still(self) -> bool:
        """Whether the page moves nothing by itself."""
        self._catch_up()
        return self._page.status.still

    def observe(self) -> Observation:
        """Return the instruction of this episode and what is on the page, as text, pixels or both."""
        view = self.view
        image = None if self._observation == "text" else self._page.picture()
        if self._observation == "pixels":
            return Observation(view.told, image)
        return Observation(listing(view, self.values, self.hand, self._most), image)

    def interface(self, name: str) -> Any:
        """Return ``control``, ``pointer`` or ``skills``."""
        return self._interfaces[name]

    # -- state ---------------------------------------------------------------------------------------------------
    def snapshot(self) -> Any:
        """Return the whole state: the inputs that led to it. For :meth:`restore` on this object until the next reset."""
        self._catch_up()
        return (
            self.task,
            self._seed,
            tuple(self.tick_log),
            self._page.hand.state(),
            self.pointer.aim,
            self.view.digest,
            self.episode_state(),
        )

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot exactly: where the page has gone on, it is loaded again and the inputs are repeated.

        Raises:
            BrowserFailed: The page came out differently.
        """
        task, seed, log, hand, aim, digest, episode = snapshot
        deferred = self._deferred is not None
        self._deferred = None
        played = len(self.tick_log) - deferred
        untouched = (
            (task, seed) == (self._task, self._seed)
            and played == len(log)
            and tuple(self.tick_log[:played]) == log
            and self._page.hand.state() == hand
        )
        if not untouched:
            self._task, self._seed, self._values = task, seed, None
            self._load()
            for raw in log:
                self._page.play(raw)
            self._view = None
            self.tick_log[:] = log
            if self._page.hand.state() != hand or self.view.digest != digest:
                raise BrowserFailed(f"the page came out differently when {len(log)} ticks were played again")
        self.pointer.aim = aim
        self.restore_episode_state(episode)

    def state_hash(self) -> str:
        """Hash of the inputs so far and of everything on the page, its clock and its draws included."""
        whole = (
            self.task.name,
            self._seed,
            self._data,
            self.view.digest,
            tuple(self.tick_log),
            self.hand.state(),
            self.pointer.aim,
            self.episode_state(),
        )
        return hashlib.blake2b(repr(whole).encode(), digest_size=8).hexdigest()

    def anchor_key(self) -> str:
        """What is on the page and where the mouse is, without the clock."""
        text = listing(self.view, self.values, self.hand, self._most)
        return hashlib.blake2b(f"{self.task.name}/{text}".encode(), digest_size=8).hexdigest()

    def close(self) -> None:
        """Close the tab; the browser stays for the other worlds of this process."""
        self._page.close()
