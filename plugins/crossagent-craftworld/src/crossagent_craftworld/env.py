"""The environment: episodes of :class:`World`, their goal, their snapshots, and the interfaces it offers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Literal

from crossagent.plugin import Environment, Event, Observation, RawTick, Task
from crossagent_craftworld import setup, terrain
from crossagent_craftworld.interfaces import ControlInterface, PointerInterface
from crossagent_craftworld.levels import LEVELS
from crossagent_craftworld.mobs import DIFFICULTY
from crossagent_craftworld.render.view import View
from crossagent_craftworld.skills import SkillsInterface
from crossagent_craftworld.terrain import TERRAINS
from crossagent_craftworld.world import World
from crossagent_minecraft_data.long_tasks import LISTS
from crossagent_minecraft_data.phrases import PHRASINGS
from crossagent_minecraft_data.windows import SCREEN

NAMED_AMONG_MANY = 7
"""Things an observation names where there are many: in the biomes and from level 2 on."""


class CraftWorld(Environment):
    """An embedded 3-D block world with Minecraft 1.16.5's numbers, one player, observed as text or as a picture.

    Args:
        skills: ``basic`` (what a small library offers: see docs/craftworld-interfaces.md) or ``full`` (crafting at a
            table too).
        camera_quantum: Mouse pixels; movements are rounded to multiples of it. 0.15° each.
        camera_limit: Largest movement of one tick, a multiple of the quantum.
        scenes: Number of different landscapes.
        width: Blocks along a side of a landscape, 32…128.
        difficulty: Scales what mobs deal: peaceful, easy, normal, hard.
        terrain: ``plains``, or ``biomes`` (ten of them, with hamlets, cliffs of ores and each kind of tree).
        level: 1: the target is near and in sight; 2: farther, among other things; 3: in another room.
        day_night: Whether the sun sets; hostile mobs then appear in the dark, and the undead burn in the sun.
        phrasing: How the suite tells its tasks: ``plain``, ``varied`` (paraphrases) or ``held_out`` (others).
        tasks: Which tasks the suite lists: ``benchmark``, ``long`` (from nothing to iron; ours) or ``all``.
        hunger: Whether the player tires, has to eat, and heals by food; without it he heals 1 per 80 ticks.
        observation: ``text``, ``pixels`` (the text is empty) or ``both``.
        image_size: Width and height of the picture, 64…2048 each.
    """

    name = "craftworld"

    def __init__(
        self,
        skills: Literal["basic", "full"] = "basic",
        camera_quantum: int = 6,
        camera_limit: int = 300,
        scenes: int = 64,
        width: int = 48,
        difficulty: Literal["peaceful", "easy", "normal", "hard"] = "easy",
        hunger: bool = False,
        terrain: Literal["plains", "biomes"] = "plains",
        level: Literal[1, 2, 3] = 1,
        day_night: bool = False,
        phrasing: Literal["plain", "varied", "held_out"] = "plain",
        tasks: Literal["benchmark", "long", "all"] = "benchmark",
        observation: Literal["text", "pixels", "both"] = "text",
        image_size: Sequence[int] = SCREEN,
    ) -> None:
        super().__init__()
        self.view = View(observation, image_size)
        if skills not in ("basic", "full"):
            raise ValueError(f"skills: got {skills!r}; expected 'basic' or 'full'")
        if camera_quantum < 1 or 2400 % camera_quantum:
            raise ValueError(f"camera_quantum: got {camera_quantum}; expected a divisor of 2400")
        if camera_limit < camera_quantum or camera_limit % camera_quantum:
            raise ValueError(f"camera_limit: got {camera_limit}; expected a multiple of camera_quantum")
        if not 32 <= width <= 128:
            raise ValueError(f"width: got {width}; expected 32…128")
        if not 1 <= scenes <= 65536:
            raise ValueError(f"scenes: got {scenes}; expected 1…65536")
        if difficulty not in DIFFICULTY:
            raise ValueError(f"difficulty: got {difficulty!r}; expected one of {', '.join(DIFFICULTY)}")
        if terrain not in TERRAINS:
            raise ValueError(f"terrain: got {terrain!r}; expected one of {', '.join(TERRAINS)}")
        if level not in LEVELS:
            raise ValueError(f"level: got {level!r}; expected one of {', '.join(map(str, LEVELS))}")
        if phrasing not in PHRASINGS:
            raise ValueError(f"phrasing: got {phrasing!r}; expected one of {', '.join(PHRASINGS)}")
        if tasks not in LISTS:
            raise ValueError(f"tasks: got {tasks!r}; expected one of {', '.join(LISTS)}")
        self.level, self._terrain, self._day_night = level, terrain, day_night
        self.camera_quantum, self.camera_limit = camera_quantum, camera_limit
        self._scenes, self._width, self._difficulty, self._hunger = scenes, width, difficulty, hunger
        self._task: Task | None = None
        self._world: World | None = None
        self._origin = ""
        self._interfaces = {
            "control": ControlInterface(self),
            "pointer": PointerInterface(self),
            "skills": SkillsInterface(self, full=skills == "full"),
        }

    # -- the episode ---------------------------------------------------------------------------------------------
    @property
    def world(self) -> World:
        """The state of the present episode; for experts and tests, read only."""
        if self._world is None:
            raise RuntimeError("CraftWorld has no episode yet: call reset(task, seed) first")
        return self._world

    @property
    def task(self) -> Task:
        """The task of the present episode."""
        if self._task is None:
            raise RuntimeError("CraftWorld has no episode yet: call reset(task, seed) first")
        return self._task

    def reset(self, task: Task, seed: int) -> Observation:
        """Start an episode: a landscape and everything else drawn from (task name, seed)."""
        self.begin_episode()
        digest = hashlib.blake2b(repr((task.name, seed)).encode(), digest_size=16).digest()
        kind = task.setup.get("terrain", self._terrain)
        scene = terrain.scene(int.from_bytes(digest[:8], "little") % self._scenes, self._width, kind)
        self._origin = f"{task.name}:{seed}"
        self._task = task
        self._world = World(
            scene, int.from_bytes(digest[8:], "little"), self._hear, self._difficulty, self._hunger, self._day_night
        )
        if self.level > 1 or kind != "plains":
            self._world.named, self._world.headroom = NAMED_AMONG_MANY, True
        setup.prepare(self._world, task.setup, self.camera_quantum, self.level)
        self.interface("pointer").reset()
        return self.observe()

    def _hear(self, kind: str, name: str, count: int) -> None:
        self.emit(Event(kind, name, count))
        if kind == "death":
            self.terminated = True
            return
        goal = self.task.setup.get("goal")
        if goal and not self.over and goal["event"] == kind and goal["name"] == name:
            self.total_reward += 1.0
            self.success = self.terminated = True

    def tick(self, raw: RawTick) -> None:
        """Advance one tick; every interface comes down to this. Does nothing once the episode is over."""
        if self.over:
            return
        self.begin_tick(raw)
        self.world.tick(raw)
        if len(self.tick_log) >= self.task.max_ticks and not self.terminated:
            self.truncated = True

    def observe(self) -> Observation:
        """Return what the player sees, as text, pixels or both."""
        return self.view.observe(self.world, self.camera_quantum, self.camera_limit)

    def interface(self, name: str) -> Any:
        """Return ``control``, ``pointer`` or ``skills``; ``KeyError`` otherwise."""
        return self._interfaces[name]

    # -- state ---------------------------------------------------------------------------------------------------
    def snapshot(self) -> Any:
        """Return the whole state; valid for :meth:`restore` on this object until the next reset."""
        return (self.world, self.world.save(), self.interface("pointer").save(), self.episode_state())

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot exactly."""
        world, state, pointer, episode = snapshot
        if world is not self._world:
            raise ValueError("the snapshot is of another episode: snapshots end with the reset that follows them")
        self.world.load(state)
        self.interface("pointer").load(pointer)
        self.restore_episode_state(episode)

    def state_hash(self) -> str:
        """Hash of the full state, RNG and clock included."""
        flags = (self.total_reward, self.terminated, self.truncated, self.success, len(self.tick_log))
        whole = (self.task.name, self.task.max_ticks, flags, self.world.canonical(), self.interface("pointer").save())
        return hashlib.blake2b(repr(whole).encode(), digest_size=16).hexdigest()

    def anchor_key(self) -> str:
        """Coarse state: cell, heading in eighths, window with its grid, inventory, block changes, mobs' rough health."""
        world = self.world
        body, inventory = world.body, world.inventory
        window = inventory.window
        seen = None
        if window is not None:
            width = window.grid_width
            seen = (window.kind, window.cursor, tuple(window.slots[: 1 + width * width]), inventory.hovered())
        mobs = tuple((m.kind, math.ceil(m.health)) for m in world.mobs)
        coarse = (
            self._origin,
            (math.floor(body.x), math.floor(body.y), math.floor(body.z)),
            (world.yaw + 150) // 300 % 8,
            math.ceil(world.dig.progress * 4),
            seen,
            sorted(inventory.totals().items()),
            inventory.selected,
            world.grid.canonical(),
            mobs,
        )
        return hashlib.blake2b(repr(coarse).encode(), digest_size=8).hexdigest()
