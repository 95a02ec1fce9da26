"""A tiny deterministic world with three interfaces on the same raw ticks, for tests of everything above a world.

A player stands on a strip of cells; things lie on it, animals move on it, and ``e`` opens a bench with slots. Each
interface has an honest limit, so that changing spaces within an episode pays:

control  does everything, but the cursor moves at most 20 px per turn: using the bench takes more turns than there are
pointer  uses the bench and takes what is next to the player, but cannot walk
skills   walks to a thing and takes it in two calls, but knows no animals and no bench
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from crossagent.envs.base import Environment, EnvironmentSpec
from crossagent.envs.interfaces import Param, Rect, SkillFailed, SkillSpec
from crossagent.types import Event, Observation, RawTick, Task

CELL = 10
SCREEN = (120, 80)
QUANTUM, LIMIT = 2, 20
REACH = 1
ANIMALS = ("bug", "crab", "frog", "moth")
RECIPES = {
    "axe": ("stone", "wood"),
    "bow": ("string", "wood"),
    "dart": ("feather", "wood"),
    "sling": ("stone", "string"),
}
SLOTS = {"feather": (110, 10), "result": (60, 40), "stone": (10, 70), "string": (110, 70), "wood": (10, 10)}
FETCHED = "stone"
"""The one part the bench does not hold: it lies on the strip."""


class ToyWorld(Environment):
    """One player, one strip, one bench; see the module's first lines.

    Args:
        cells: Length of the strip.
    """

    name = "toy"

    def __init__(self, cells: int = SCREEN[0] // CELL) -> None:
        super().__init__()
        self.cells = cells
        self._interfaces = {"control": ToyControl(self), "pointer": ToyPointer(self), "skills": ToySkills(self)}

    def reset(self, task: Task, seed: int) -> Observation:
        """Put the goal and a distractor two to six cells away, on seeded sides."""
        self.begin_episode()
        self.task = task
        self.rng = random.Random(f"{task.name}/{seed}")
        self.position = self.rng.randrange(self.cells // 3, self.cells - self.cells // 3)
        free = [c for c in range(self.cells) if abs(c - self.position) >= 2]
        self.things: dict[str, int] = dict(
            zip(task.setup["things"], self.rng.sample(free, len(task.setup["things"])), strict=True)
        )
        self.have: tuple[str, ...] = ()
        self.picked: tuple[str, ...] = ()
        self.bench = False
        self.cursor = self._at(self.position)
        self.held: tuple[str, ...] = ()
        return self.observe()

    def observe(self) -> Observation:
        """Return at most 25 words: what is where, or the bench; what the player has."""
        have = f"have {' '.join(self.have)}" if self.have else "have nothing"
        if self.bench:
            picked = " ".join(self.picked) or "nothing"
            return Observation(f"bench cursor {self.cursor[0]} {self.cursor[1]} picked {picked} {have}")
        parts = []
        for name, cell in sorted(self.things.items()):
            d = cell - self.position
            parts.append(f"{name} here" if d == 0 else f"{name} {'right' if d > 0 else 'left'} {abs(d)}")
        return Observation(" ".join([*parts, have]))

    def interface(self, name: str) -> Any:
        """Return ``control``, ``pointer`` or ``skills``."""
        return self._interfaces[name]

    def tick(self, raw: RawTick) -> None:
        """Advance one tick: cursor, keys, buttons, animals, limits. Everything that changes the world is here."""
        if self.over:
            return
        self.begin_tick(raw)
        self.cursor = (
            max(0, min(SCREEN[0] - 1, self.cursor[0] + raw.camera[0])),
            max(0, min(SCREEN[1] - 1, self.cursor[1] + raw.camera[1])),
        )
        if "e" in raw.keys and "e" not in self.held:
            self.bench, self.picked = not self.bench, ()
            self.cursor = (SCREEN[0] // 2, SCREEN[1] // 2) if self.bench else self._at(self.position)
        step = ("d" in raw.keys) - ("a" in raw.keys)
        if step and not self.bench:
            self.position = max(0, min(self.cells - 1, self.position + step))
            self.cursor = self._at(self.position)
        if "left" in raw.buttons:
            self._use_bench() if self.bench else self._take()
        elif "right" in raw.buttons and self.bench:
            self.picked = ()
        self._move_animals()
        self.held = raw.keys
        if not self.terminated and len(self.tick_log) >= self.task.max_ticks:
            self.truncated = True

    def _at(self, cell: int) -> tuple[int, int]:
        return cell * CELL + CELL // 2, SCREEN[1] // 2

    def _take(self) -> None:
        cell = self.cursor[0] // CELL
        for name, where in sorted(self.things.items()):
            if where == cell and abs(cell - self.position) <= REACH:
                del self.things[name]
                self.have = tuple(sorted((*self.have, name)))
                self._happened("catch" if name in ANIMALS else "get", name)
                return

    def _use_bench(self) -> None:
        slot = next((n for n, r in self.targets().items() if inside(r, self.cursor)), None)
        if slot == "result":
            made = next((n for n, parts in RECIPES.items() if parts == self.picked), None)
            if made:
                self.picked = ()
                self.have = tuple(sorted((*(h for h in self.have if h not in RECIPES[made]), made)))
                self._happened("make", made)
        elif slot and slot not in self.picked:
            self.picked = tuple(sorted((*self.picked, slot)))

    def _move_animals(self) -> None:
        for name in sorted(self.things.keys() & set(ANIMALS)):
            if len(self.tick_log) % 2 == 0:
                away = self.things[name] - self.position
                step = self.rng.choice((-1, 0, 1)) if abs(away) > 2 else (1 if away > 0 else -1)
                self.things[name] = max(0, min(self.cells - 1, self.things[name] + step))

    def _happened(self, kind: str, name: str) -> None:
        self.emit(Event(kind, name))
        if f"{kind}:{name}" == self.task.name and not self.over:
            self.total_reward += 1.0
            self.success = self.terminated = True

    def targets(self) -> dict[str, Rect]:
        """Return what can be named on the screen now."""
        if self.bench:
            shown = {n: xy for n, xy in SLOTS.items() if n != FETCHED or FETCHED in self.have}
            return {n: Rect(x - 6, y - 6, 12, 12) for n, (x, y) in shown.items()}
        return {n: Rect(c * CELL, 30, CELL, 20) for n, c in sorted(self.things.items())}

    def _state(self) -> tuple[Any, ...]:
        things = tuple(sorted(self.things.items()))
        return self.position, things, self.have, self.picked, self.bench, self.cursor, self.held

    def snapshot(self) -> Any:
        """Return everything; all of it is immutable."""
        return self.task, self._state(), self.rng.getstate(), self.episode_state()

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot."""
        self.task, state, rng, episode = snapshot
        self.position, things, self.have, self.picked, self.bench, self.cursor, self.held = state
        self.things = dict(things)
        self.rng.setstate(rng)
        self.restore_episode_state(episode)

    def state_hash(self) -> str:
        """Hash of the state, the RNG and the clock."""
        whole = (self.task.name, self.cells, self._state(), self.rng.getstate(), self.episode_state())
        return hashlib.blake2b(repr(whole).encode(), digest_size=8).hexdigest()

    def anchor_key(self) -> str:
        """The observation's facts, without clock and RNG."""
        return repr((self.task.name, self._state()[:-1]))


def inside(rect: Rect, point: tuple[int, int]) -> bool:
    """Tell whether a pixel lies in a rectangle."""
    return rect.x <= point[0] < rect.x + rect.width and rect.y <= point[1] < rect.y + rect.height


def quantise(pixels: int) -> int:
    """Round a mouse movement to the quantum, halves away from zero."""
    return (abs(pixels) + QUANTUM // 2) // QUANTUM * QUANTUM * (1 if pixels >= 0 else -1)


class ToyControl:
    """Interface ``control``: ``a`` and ``d`` walk, ``e`` opens and closes the bench, ``left`` takes or clicks."""

    camera_quantum, camera_limit = QUANTUM, LIMIT

    def __init__(self, world: ToyWorld) -> None:
        self._world = world

    def keys(self) -> tuple[str, ...]:
        """Return the keys this world knows."""
        return ("a", "d", "e")

    def buttons(self) -> tuple[str, ...]:
        """Return the mouse buttons."""
        return ("left", "right")

    def step(self, keys: Sequence[str] = (), buttons: Sequence[str] = (), camera: tuple[int, int] = (0, 0)) -> None:
        """Advance one tick; the cursor moves at most ``camera_limit`` pixels along an axis."""
        dx, dy = (quantise(max(-LIMIT, min(LIMIT, v))) for v in camera)
        self._world.tick(RawTick(tuple(sorted(keys)), tuple(sorted(buttons)), (dx, dy)))


class ToyPointer:
    """Interface ``pointer``: the cursor jumps to any pixel; the keyboard has ``e`` alone, so there is no walking."""

    size = SCREEN

    def __init__(self, world: ToyWorld) -> None:
        self._world = world
        self._aim: tuple[int, int] | None = None

    def _camera(self) -> tuple[int, int]:
        """Return, once, the movement to where ``move_to`` pointed."""
        (x, y), (cx, cy) = self._aim or self._world.cursor, self._world.cursor
        self._aim = None
        return quantise(x - cx), quantise(y - cy)

    def move_to(self, x: int, y: int) -> None:
        """Aim the next click; no tick passes."""
        self._aim = (x, y)

    def click(self, button: Literal["left", "right"] = "left", count: int = 1, modifiers: Sequence[str] = ()) -> None:
        """Take one tick per click, and one between two clicks."""
        for i in range(count):
            if i:
                self._world.tick(RawTick())
            self._world.tick(RawTick(tuple(sorted(modifiers)), (button,), self._camera()))

    def drag(self, x: int, y: int, button: Literal["left", "right"] = "left") -> None:
        """Hold the button for two ticks: here and there."""
        self.click(button)
        self.move_to(x, y)
        self.click(button)

    def scroll(self, dy: int) -> None:
        """Let one tick pass: nothing here scrolls."""
        self._world.tick(RawTick())

    def press(self, key: str) -> None:
        """Press a key for one tick; a key that is still down is released first."""
        if key in self._world.held:
            self._world.tick(RawTick())
        self._world.tick(RawTick((key,)))

    def keys(self) -> tuple[str, ...]:
        """Return what ``press`` takes."""
        return ("e",)

    def targets(self) -> Mapping[str, Rect]:
        """Return the slots of the open bench, else the things on the strip."""
        return self._world.targets()


class ToySkills:
    """Interface ``skills``: walking and taking, by name. Knows nothing that moves and no bench."""

    def __init__(self, world: ToyWorld) -> None:
        self._world = world
        self._table: dict[str, tuple[SkillSpec, Callable[..., None]]] = {
            "goto": (SkillSpec("goto", (Param("thing"),), "walk to a thing; animals do not wait"), self._goto),
            "take": (SkillSpec("take", (Param("thing"),), "take a thing that is here or next to you"), self._take),
            "walk_to": (SkillSpec("walk_to", (Param("cell", "int"),), "walk to a cell by number"), self._walk_to),
        }

    def list(self) -> tuple[SkillSpec, ...]:
        """Return the three skills."""
        return tuple(spec for spec, _ in self._table.values())

    def call(self, name: str, *args: Any) -> None:
        """Run a skill to its end."""
        if not self._world.over:
            self._table[name][1](*args)

    def _find(self, name: str) -> int:
        if name in ANIMALS:
            raise SkillFailed(f"{name} does not wait")
        if name not in self._world.things:
            raise SkillFailed(f"no {name} here")
        return self._world.things[name]

    def _goto(self, name: str) -> None:
        self._walk_to(self._find(name))

    def _take(self, name: str) -> None:
        cell = self._find(name)
        if abs(cell - self._world.position) > REACH:
            raise SkillFailed(f"{name} is out of reach")
        here = self._world.cursor
        x, y = self._world.targets()[name].center if not self._world.bench else here
        self._world.tick(RawTick((), ("left",), (quantise(x - here[0]), quantise(y - here[1]))))

    def _walk_to(self, cell: int) -> None:
        if self._world.bench:
            raise SkillFailed("the bench is open")
        if not 0 <= cell < self._world.cells:
            raise SkillFailed(f"no cell {cell}")
        while self._world.position != cell and not self._world.over:
            self._world.tick(RawTick(("d" if cell > self._world.position else "a",)))


def toy_environment() -> EnvironmentSpec:
    """Return the spec of the toy world, for ``PluginSet.with_(environment=…)``."""
    return EnvironmentSpec(
        name="toy",
        version="1",
        interfaces=("control", "pointer", "skills"),
        factory="crossagent.testing.toy:ToyWorld",
        suite="crossagent.testing.toy_tasks:ToySuite",
        experts={
            "control": "crossagent.testing.toy_tasks:ControlExpert",
            "pointer": "crossagent.testing.toy_tasks:PointerExpert",
            "skills": "crossagent.testing.toy_tasks:SkillsExpert",
        },
        doc="A strip of cells, a bench and three interfaces, for tests.",
    )
