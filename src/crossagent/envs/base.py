"""What a world must be: :class:`Environment`, its task suite and its experts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from crossagent.types import Call, Event, Observation, RawTick, Task


class TickLimit(Exception):
    """Raised out of a tick when :meth:`Environment.tick_limit` is used up; ends an executor early on a snapshot."""


class Environment(ABC):
    """A world with tasks. Offers interfaces; knows nothing of action spaces.

    A subclass calls :meth:`begin_tick` once at the start of every low-level tick (with the raw inputs of that tick)
    and :meth:`emit` for events. After ``terminated`` or ``truncated`` the interfaces do nothing.
    """

    name: str
    """As the environment's spec declares it."""

    def __init__(self) -> None:
        self.tick_log: list[RawTick] = []
        """Raw inputs of each tick since reset; what lowering compares."""
        self.events: list[Event] = []
        """Everything that happened since reset."""
        self.total_reward: float = 0.0
        self.terminated = False
        self.truncated = False
        self.success = False
        self._ticks_left: int | None = None

    # -- the episode ---------------------------------------------------------------------------------------------
    @abstractmethod
    def reset(self, task: Task, seed: int) -> Observation:
        """Start an episode. Equal (task, seed) gives an equal state. Call :meth:`begin_episode` first."""

    @abstractmethod
    def observe(self) -> Observation:
        """Return what the policy sees now; changes nothing."""

    @abstractmethod
    def interface(self, name: str) -> Any:
        """Return the object behind an interface this environment's spec declares; ``KeyError`` otherwise."""

    @abstractmethod
    def snapshot(self) -> Any:
        """Return the whole state, RNG, :meth:`episode_state` included; in memory only, for :meth:`restore`."""

    @abstractmethod
    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot exactly; a snapshot can be restored any number of times."""

    @abstractmethod
    def state_hash(self) -> str:
        """Hash of the full canonical state with its RNG: equal iff the future is equal."""

    @abstractmethod
    def anchor_key(self) -> str:
        """Coarse key of the state without clock and RNG, for step-level credit (GiGPO)."""

    def close(self) -> None:  # noqa: B027 - optional
        """Free what the world holds."""

    @property
    def over(self) -> bool:
        """True once the episode has terminated or was truncated."""
        return self.terminated or self.truncated

    # -- for subclasses ------------------------------------------------------------------------------------------
    def begin_episode(self) -> None:
        """Clear the episode's log; the first thing ``reset`` does."""
        self.tick_log, self.events = [], []
        self.total_reward, self.terminated, self.truncated, self.success = 0.0, False, False, False
        self._ticks_left = None

    def begin_tick(self, raw: RawTick) -> None:
        """Log one tick; raises :class:`TickLimit` instead when the limit of :meth:`tick_limit` is used up."""
        if self._ticks_left is not None:
            if self._ticks_left <= 0:
                raise TickLimit
            self._ticks_left -= 1
        self.tick_log.append(raw)

    def emit(self, event: Event) -> None:
        """Record something that happened."""
        self.events.append(event)

    def episode_state(self) -> tuple[Any, ...]:
        """The part of the state this base class owns; goes into a snapshot."""
        return (
            len(self.tick_log),
            tuple(self.events),
            self.total_reward,
            self.terminated,
            self.truncated,
            self.success,
        )

    def restore_episode_state(self, state: tuple[Any, ...]) -> None:
        """Undo to what :meth:`episode_state` returned; the log of ticks is cut back to its length then."""
        ticks, events, self.total_reward, self.terminated, self.truncated, self.success = state
        del self.tick_log[ticks:]
        self.events = list(events)

    @contextmanager
    def tick_limit(self, ticks: int) -> Iterator[None]:
        """Allow this many ticks inside the block; the next one raises :class:`TickLimit`, which ends the block.

        Blocks nest: an inner one allows no more than is left of the outer one, and uses that up.
        """
        outer = self._ticks_left
        allowed = ticks if outer is None else min(ticks, outer)
        self._ticks_left = allowed
        try:
            yield
        except TickLimit:
            pass
        finally:
            used = allowed - (self._ticks_left or 0)
            self._ticks_left = None if outer is None else outer - used


class TaskSuite(Protocol):
    """The named tasks of an environment. Building and listing one must be cheap and import no torch."""

    def tasks(self) -> Sequence[Task]:
        """Every task, in a fixed order, unsolvable ones included (with their reason)."""

    def get(self, name: str) -> Task:
        """Return one task; raises ``KeyError``."""


class Expert(Protocol):
    """Shows how one interface is used. Closed-loop and stateless between turns: it looks at the world each time, so
    that experts of several interfaces can take turns in one episode.
    """

    interface: str

    def propose(self, env: Environment) -> list[Call]:
        """Return the next calls (at least one; at most what one decision covers). Raises :class:`ExpertStuck`."""


class ExpertStuck(Exception):
    """The expert cannot go on through its interface; ``str`` is the reason."""


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What a plugin declares about one environment. Data only: nothing is built until a recipe asks for it."""

    name: str
    version: str
    interfaces: tuple[str, ...]
    factory: str | Callable[..., Environment]
    """``module:Class``, called with the recipe's ``environment.options`` as keyword arguments. What a package declares
    names it, here and below; only what is added by ``PluginSet.with_`` may be the class itself."""
    suite: str | Callable[..., TaskSuite]
    """``module:callable`` returning a :class:`TaskSuite`; called with the same options."""
    experts: Mapping[str, str | Callable[[], Expert]] = field(default_factory=dict)
    """interface → ``module:Class`` of an :class:`Expert`, called without arguments."""
    doc: str = ""
