"""An environment whose world is the real game, in a process of its own. MineRL and MineStudio are two of them."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from crossagent.plugin import Bridge, BridgeFailed, Environment, Event, Observation, RawTick, Task
from crossagent_minerl import actions
from crossagent_minerl.frame import Frame

PROTOCOL = 1
_SERVE = Path(str(files("crossagent_minerl") / "engine" / "serve.py"))
Shown = Literal["text", "pixels", "both"]


class GameWorld(Environment):
    """Episodes in a real game.

    The game cannot be saved. ``restore`` begins the episode again and plays it to where the snapshot was taken, which
    holds only while the game comes out the same; where it does not, the episode is lost, with that reason.

    Args:
        python: The game's interpreter.
        adapter: File of the class ``Game`` that it runs; see ``engine/serve.py``.
        options: What that class gets.
        observation: ``text`` (what the game tells beside its picture: little), ``pixels`` (the text is empty) or ``both``.
        camera_quantum: Mouse pixels; movements are rounded to multiples of it. 0.15° each.
        camera_limit: Largest movement of one tick, a multiple of the quantum.
        reset_seconds: How long a reset may take: the first one starts the game.
        step_seconds: How long a tick may take.
    """

    def __init__(
        self,
        python: Path,
        adapter: Path,
        options: Mapping[str, Any],
        observation: Shown = "both",
        camera_quantum: int = 6,
        camera_limit: int = 300,
        reset_seconds: float = 600.0,
        step_seconds: float = 60.0,
    ) -> None:
        super().__init__()
        if observation not in ("text", "pixels", "both"):
            raise ValueError(f"observation: got {observation!r}; expected text, pixels or both")
        if not 1 <= camera_quantum <= 300:
            raise ValueError(f"camera_quantum: got {camera_quantum}; expected 1…300")
        if camera_limit % camera_quantum or not camera_quantum <= camera_limit <= 1200:
            raise ValueError(f"camera_limit: got {camera_limit}; expected a multiple of {camera_quantum} up to 1200")
        self.camera_quantum, self.camera_limit = camera_quantum, camera_limit
        self._python, self._adapter, self._options, self._shown = python, adapter, dict(options), observation
        self._reset_seconds, self._step_seconds = reset_seconds, step_seconds
        self._bridge: Bridge | None = None
        self._task: Task | None = None
        self._seed = 0
        self._frame: Frame | None = None
        self._sent: list[tuple[RawTick, dict[str, Any]]] = []

    # -- what a game says of itself ------------------------------------------------------------------------------
    names: Mapping[str, str] = {}
    """The game's name of an item → ours, where they differ."""

    @abstractmethod
    def known(self, task: Task) -> frozenset[str]:
        """Return the actions that the game has in this task."""

    def mission(self, task: Task, seed: int) -> tuple[str, Mapping[str, Any]]:
        """Return (what the game calls the task, the set-up it is sent)."""
        return task.name, {}

    # -- the episode ---------------------------------------------------------------------------------------------
    @property
    def frame(self) -> Frame:
        """What the game said last; for interfaces and tests, read only."""
        if self._frame is None:
            raise RuntimeError(f"{self.name} has no episode yet: call reset(task, seed) first")
        return self._frame

    @property
    def task(self) -> Task:
        """The task of the present episode."""
        if self._task is None:
            raise RuntimeError(f"{self.name} has no episode yet: call reset(task, seed) first")
        return self._task

    def reset(self, task: Task, seed: int) -> Observation:
        """Start an episode; the first one starts the game.

        Raises:
            BridgeFailed: The game cannot be started, in its own words.
        """
        self.begin_episode()
        self._task, self._seed, self._sent = task, seed, []
        self._begin()
        return self.observe()

    def _begin(self) -> None:
        if self._bridge is None or not self._bridge.alive:
            words = [str(self._python), str(_SERVE)]
            tail = [str(self._adapter), json.dumps(self._options, sort_keys=True)]
            self._bridge = Bridge(
                lambda fd: [*words, str(fd), *tail],
                name=f"the game of {self.name}",
                hello="crossagent-game",
                protocol=PROTOCOL,
                start_seconds=self._reset_seconds,
            )
        name, setup = self.mission(self.task, self._seed)
        self._frame = self._ask("reset", self._reset_seconds, task=name, seed=self._seed, setup=dict(setup))
        for interface in self.interfaces().values():
            if hasattr(interface, "reset"):
                interface.reset()

    def _ask(self, cmd: str, seconds: float, **arguments: Any) -> Frame:
        assert self._bridge is not None
        said = self._bridge.call(cmd, seconds, **arguments)
        try:
            return Frame.of(said, self.names)
        except ValueError as error:
            self.close()
            raise BridgeFailed(f"the game of {self.name} failed: {error}") from error

    def tick(self, raw: RawTick, macro: Mapping[str, Any] | None = None) -> None:
        """Advance one tick; every interface comes down to this. Does nothing once the episode is over.

        ``macro``: actions that are no keys, such as MineRL's ``craft``; in the log of ticks they are keys named like them.
        """
        if self.over:
            return
        self.begin_tick(raw)
        action = {**actions.encode(raw, self.known(self.task)), **(macro or {})}
        self._sent.append((raw, action))
        before = self.frame
        self._frame = self._ask("step", self._step_seconds, action=action)
        for interface in self.interfaces().values():
            if hasattr(interface, "follow"):
                interface.follow(before, raw)
        self.total_reward += self.frame.reward
        for event in self.happened(before, self.frame):
            self.emit(event)
        if self.reached(self.task.setup.get("goal", {})):
            self.success = self.terminated = True
        elif self.frame.done:
            self.terminated = True
        elif len(self.tick_log) >= self.task.max_ticks:
            self.truncated = True

    def happened(self, before: Frame, after: Frame) -> list[Event]:
        """Return what a tick brought: the growth of the game's statistics, in a fixed order."""
        events = []
        for kind, table in sorted(after.counts.items()):
            old = before.counts.get(kind, {})
            events += [Event(kind, n, c - old.get(n, 0)) for n, c in sorted(table.items()) if c > old.get(n, 0)]
        return events

    def reached(self, goal: Mapping[str, Any]) -> bool:
        """Return whether the goal is reached: ``{event, name, count}``, or ``{reward}``, of the whole episode or ``once``."""
        if "reward" in goal:
            got = self.frame.reward if goal.get("once") else self.total_reward
            return bool(got >= goal["reward"] - 1e-9)
        if "event" not in goal:
            return False
        found = sum(e.count for e in self.events if e.kind == goal["event"] and e.name == goal["name"])
        return bool(found >= goal.get("count", 1))

    def observe(self) -> Observation:
        """Return what the player sees, as text, pixels or both."""
        frame = self.frame
        return Observation(
            "" if self._shown == "pixels" else frame.text(), None if self._shown == "text" else frame.pov
        )

    @abstractmethod
    def interfaces(self) -> Mapping[str, Any]:
        """Return every interface by name."""

    def interface(self, name: str) -> Any:
        """Return an interface; ``KeyError`` for one that the game does not offer."""
        return self.interfaces()[name]

    def close(self) -> None:
        """End the game."""
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            bridge.close()

    # -- state ---------------------------------------------------------------------------------------------------
    def snapshot(self) -> Any:
        """Return what :meth:`restore` needs on this object until the next reset."""
        saved = {n: i.save() for n, i in self.interfaces().items() if hasattr(i, "save")}
        return (self._task, self._seed, len(self._sent), self._frame, saved, self.episode_state())

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot, by playing the episode again if it went on.

        Raises:
            BridgeFailed: It came out differently.
            ValueError: The snapshot is of another episode.
        """
        task, seed, count, frame, saved, episode = snapshot
        if task is not self._task or seed != self._seed or count > len(self._sent):
            raise ValueError("the snapshot is of another episode: snapshots end with the reset that follows them")
        if count != len(self._sent):
            sent = self._sent[:count]
            self._begin()
            for _, action in sent:
                self._frame = self._ask("step", self._step_seconds, action=action)
            self._sent = sent
            if self.frame.digest() != frame.digest():
                self.close()
                raise BridgeFailed(
                    f"the episode came out differently when it was played again ({count} ticks): this game cannot go back"
                )
        for name, state in saved.items():
            self.interface(name).load(state)
        self.restore_episode_state(episode)

    def state_hash(self) -> str:
        """Hash of what the game has told, of the seed and of every action: equal if the future is, as far as is known."""
        told = (
            self.task.name,
            self._seed,
            [action for _, action in self._sent],
            self.episode_state(),
            self.frame.digest(),
        )
        saved = [(n, i.save()) for n, i in sorted(self.interfaces().items()) if hasattr(i, "save")]
        return hashlib.blake2b(repr((told, saved)).encode(), digest_size=16).hexdigest()

    def anchor_key(self) -> str:
        """Coarse state: the inventory, what is held, whether a window is open, the cell and the heading in eighths."""
        frame = self.frame
        place = None
        if frame.place is not None:
            x, y, z, _, yaw = frame.place
            place = (int(x // 1), int(y // 1), int(z // 1), round(yaw / 45) % 8)
        coarse = (self.task.name, frame.inventory, frame.held, frame.gui, place)
        return hashlib.blake2b(repr(coarse).encode(), digest_size=8).hexdigest()


class KeyControl:
    """Held keys, buttons and mouse movement; one call is one tick. A :class:`crossagent.plugin.Control`."""

    def __init__(self, env: GameWorld, known: Sequence[str] | frozenset[str]) -> None:
        """``known``: the actions that the game has in any task."""
        self._env = env
        self._keys, self._buttons = actions.keys_of(known), actions.buttons_of(known)
        self.camera_quantum, self.camera_limit = env.camera_quantum, env.camera_limit

    def keys(self) -> tuple[str, ...]:
        """Names of the keys."""
        return self._keys

    def buttons(self) -> tuple[str, ...]:
        """Names of the mouse buttons."""
        return self._buttons

    def step(self, keys: Sequence[str] = (), buttons: Sequence[str] = (), camera: tuple[int, int] = (0, 0)) -> None:
        """Advance one tick. Unknown keys and buttons are ignored, movements rounded to the quantum and cut."""
        dx, dy = camera
        self._env.tick(
            RawTick(
                tuple(k for k in self._keys if k in keys),
                tuple(b for b in self._buttons if b in buttons),
                (self._round(int(dx)), self._round(int(dy))),
            )
        )

    def _round(self, pixels: int) -> int:
        quantum, limit = self.camera_quantum, self.camera_limit
        nearest = (2 * abs(pixels) + quantum) // (2 * quantum) * quantum
        return min(nearest, limit) if pixels >= 0 else -min(nearest, limit)
