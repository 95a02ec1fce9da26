"""The skill library: typed skills that run the motor controller to the end. Limits: docs/craftworld-interfaces.md."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from crossagent.plugin import ExpertStuck, Param, RawTick, SkillFailed, SkillSpec
from crossagent_craftworld import explore, hands, motor, sight
from crossagent_craftworld.experts import crafting, smelting
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.hunger import FULL
from crossagent_craftworld.inventory import WINDOW_OF_BLOCK
from crossagent_craftworld.mobs import REACH as MOB_REACH
from crossagent_craftworld.palette import OUTLINES
from crossagent_craftworld.paths import Stuck, feet, stand
from crossagent_minecraft_data.blocks import BLOCKS, INTERACTIVE, dig_ticks
from crossagent_minecraft_data.entities import MOBS
from crossagent_minecraft_data.foods import FOODS
from crossagent_minecraft_data.items import is_item, stack_size
from crossagent_minecraft_data.recipes import Recipe, recipes_for
from crossagent_minecraft_data.windows import PLAYER_SLOTS

if TYPE_CHECKING:
    from crossagent_craftworld.env import CraftWorld

BUDGET = 240
"""Ticks of one skill."""
FIGHT_BUDGET = 200
_NAME = (Param("name"),)
SPECS: tuple[SkillSpec, ...] = (
    SkillSpec("goto", _NAME, "Walk to the nearest visible block, mob or drop of that name."),
    SkillSpec("look_at", _NAME, "Turn to the nearest visible thing of that name."),
    SkillSpec("mine", _NAME, "Walk to the nearest visible block of that name and dig it with what is in the hand."),
    SkillSpec("attack", _NAME, "Follow the nearest visible mob of that name and hit it until it is dead."),
    SkillSpec("collect", _NAME, "Walk over the nearest visible stack of that item."),
    SkillSpec("equip", _NAME, "Take that item into the hand."),
    SkillSpec("place", _NAME, "Place that block, from the hotbar, on the ground ahead."),
    SkillSpec("open", _NAME, "Walk to a crafting_table or chest and open it; or open the inventory."),
    SkillSpec("craft", _NAME, "Craft that item once in the 2x2 grid of the inventory."),
    SkillSpec("close", (), "Close the open window."),
)
_OTHERS = 5
SMELT_BUDGET = 400
FULL_SPECS: tuple[SkillSpec, ...] = (
    *(
        s
        if s.name != "craft"
        else SkillSpec("craft", _NAME, "Craft that item once, by hand or at a visible crafting_table.")
        for s in SPECS
    ),
    SkillSpec("find", _NAME, "Walk about until a block, mob or drop of that name is in sight, and turn to it."),
    SkillSpec("deposit", _NAME, "Put all of that item into the open chest, or a visible one."),
    SkillSpec("eat", _NAME, "Take that food into the hand and eat one."),
    SkillSpec("smelt", _NAME, "Smelt that item once at a visible furnace, with the fuel at hand, and take it out."),
)
"""With ``skills: full``."""


class SkillsInterface:
    """The skills. A :class:`crossagent.plugin.Skills`.

    Each one ends: it succeeds, or raises :class:`SkillFailed`, after at most 240 ticks. It sees what the player sees,
    in all directions, up to 24 blocks.
    """

    def __init__(self, env: CraftWorld, full: bool) -> None:
        self._env = env
        self.full = full
        self._end = 0
        """Length of the tick log at which the skill under way has used up its budget."""
        self._mouse = motor.Limits(env.camera_quantum, env.camera_limit)
        self._specs = FULL_SPECS if full else SPECS
        self._run: dict[str, Callable[..., None]] = {
            "goto": self._goto, "look_at": self._look_at, "mine": self._mine, "attack": self._attack,
            "collect": self._collect, "equip": self._equip, "place": self._place, "open": self._open,
            "craft": self._craft, "close": self._close,
        }  # fmt: skip
        if full:
            self._run |= {"smelt": self._smelt, "eat": self._eat, "find": self._search, "deposit": self._deposit}

    def list(self) -> tuple[SkillSpec, ...]:
        """Return the skills."""
        return self._specs

    def call(self, name: str, *args: Any) -> None:
        """Run a skill to its end. Raises :class:`SkillFailed` with a few words."""
        if name not in self._run:
            raise SkillFailed(f"no skill {name}")
        spec = next(s for s in self._specs if s.name == name)
        if len(args) != len(spec.params) or not all(isinstance(a, str) for a in args):
            raise SkillFailed(f"{name} takes {len(spec.params)} name{'s' * (len(spec.params) != 1)}")
        if self._env.over:
            return
        self._end = len(self._env.tick_log) + (SMELT_BUDGET if name == "smelt" else BUDGET)
        try:
            self._run[name](*args)
        except Stuck as stuck:
            raise SkillFailed(str(stuck)) from None

    # -- running -------------------------------------------------------------------------------------------------
    def _until(self, step: Callable[[], RawTick | None], budget: int = BUDGET) -> None:
        """Take the ticks ``step`` gives until it gives none; fails when the budget is used up."""
        env = self._env
        for _ in range(min(budget, self._end - len(env.tick_log))):
            if env.over:
                return
            raw = step()
            if raw is None:
                return
            env.tick(raw)
        if not env.over and step() is not None:
            raise Stuck("took too long")

    def _find(self, name: str, kind: str | None = None) -> sight.Thing:
        thing = sight.find(self._env.world, name, self._env.camera_quantum)
        if thing is None or (kind is not None and thing.kind != kind):
            raise Stuck(f"no {name} in sight")
        return thing

    def _no_window(self) -> None:
        """Close what is open: the other skills act in the world."""
        world = self._env.world
        if world.inventory.window is not None:
            self._until(lambda: None if world.inventory.window is None else motor.tap(world, "escape"), 4)

    # -- the skills ----------------------------------------------------------------------------------------------
    def _goto(self, name: str) -> None:
        thing = self._find(name)
        self._no_window()
        self._until(lambda: self._approach(thing))

    def _approach(self, thing: sight.Thing) -> RawTick | None:
        world, mouse = self._env.world, self._mouse
        if thing.mob is not None:
            if thing.mob not in world.mobs:
                raise Stuck("it is gone")
            seen = sight.mob(world, thing.mob, mouse.quantum)
            reach = MOB_REACH - 0.1
        elif thing.kind == "drop":
            return motor.step_onto(world, thing.point, mouse)
        else:
            seen = sight.block(world, thing.cell, mouse.quantum)
            reach = motor.BLOCK_REACH
        if seen is None:
            return motor.walk(world, motor.stands_near(world, thing.cell), mouse)
        step = motor.approach(world, seen, reach, mouse)
        return motor.look(world, seen.point, mouse) if step is None else step

    def _look_at(self, name: str) -> None:
        thing = self._find(name)
        self._no_window()
        self._until(lambda: motor.look(self._env.world, thing.point, self._mouse), 12)

    def _mine(self, name: str) -> None:
        world = self._env.world
        if name not in BLOCKS:
            raise Stuck(f"{name} is no block")
        thing = self._find(name, "block")
        held = world.inventory.held()
        if not 0 <= dig_ticks(name, held[0] if held else None) <= BUDGET:
            raise Stuck(f"{name} is too hard")
        self._no_window()
        thing = self._dig(thing)
        if self._env.over:
            return
        with suppress(Stuck):  # the block is mined, even if its drop lies where one cannot walk
            self._gather((thing.cell[0] + 0.5, thing.cell[1] + 0.5, thing.cell[2] + 0.5))

    def _dig(self, thing: sight.Thing) -> sight.Thing:
        """Dig a block; with the full library, when it cannot be got at, the next nearest of its kind. Return which."""
        world = self._env.world
        others = sight.every(world, thing.name, self._mouse.quantum, _OTHERS) if self.full else []
        for candidate in [thing, *(t for t in others if t.cell != thing.cell)]:
            last = candidate
            try:
                self._until(lambda c=candidate: motor.dig(world, c.cell, self._mouse))  # type: ignore[misc]
            except Stuck as stuck:
                if not self.full or str(stuck) == "took too long":
                    raise
                why = stuck
                continue
            return last
        raise why

    def _gather(self, middle: tuple[float, float, float]) -> None:
        """Wait until what dropped has fallen, and walk over it."""
        world = self._env.world
        self._until(lambda: None if not world.drops or self._fallen(middle) else RawTick(), 30)
        for drop in list(world.drops):
            b = drop.body
            if (b.x - middle[0]) ** 2 + (b.z - middle[2]) ** 2 < 4 and drop in world.drops:
                self._until(lambda d=drop: self._pick_up(d), 60)  # type: ignore[misc]

    def _fallen(self, middle: tuple[float, float, float]) -> bool:
        near = [d for d in self._env.world.drops if (d.body.x - middle[0]) ** 2 + (d.body.z - middle[2]) ** 2 < 4]
        return all(d.resting or d.body.on_ground for d in near)

    def _pick_up(self, drop: Any) -> RawTick | None:
        world = self._env.world
        if drop not in world.drops:
            return None
        b = drop.body
        step = motor.step_onto(world, (b.x, b.y, b.z), self._mouse, push=self.full)
        if step is None and drop.delay == 0 and (drop.resting or b.on_ground):
            return None  # on it: what is left does not fit the inventory
        return step or RawTick()

    def _attack(self, name: str) -> None:
        thing = self._find(name, "mob")
        self._no_window()
        target = thing.mob
        assert target is not None
        self._until(lambda: motor.fight(self._env.world, target, self._mouse), FIGHT_BUDGET)
        if target in self._env.world.mobs and not self._env.over:
            raise Stuck(f"{name} is not dead")

    def _collect(self, name: str) -> None:
        if not is_item(name) and not name.startswith("drop_"):
            raise Stuck(f"{name} is no item")
        name = name.removeprefix("drop_")
        world = self._env.world
        thing = self._find(f"drop_{name}", "drop")
        self._no_window()
        drop = min(
            (d for d in world.drops if d.item == name),
            key=lambda d: (d.body.x - thing.point[0]) ** 2 + (d.body.z - thing.point[2]) ** 2,
        )
        self._until(lambda: self._pick_up(drop))
        if drop in world.drops and not self._env.over:
            raise Stuck("no room")

    def _equip(self, name: str) -> None:
        world = self._env.world
        self._until(lambda: motor.equip(world, name, self._mouse), 12)
        self._no_window()

    def _eat(self, name: str) -> None:
        world = self._env.world
        if world.hunger is None or name not in FOODS:
            raise Stuck(f"{name} cannot be eaten")
        if world.hunger.food >= FULL and not FOODS[name].always:
            raise Stuck("not hungry")
        self._equip(name)
        eaten = self._made(name, "eat")
        self._until(lambda: None if self._made(name, "eat") > eaten else RawTick((), ("right",)), 40)

    def _place(self, name: str) -> None:
        world = self._env.world
        if name not in BLOCKS or not is_item(name):
            raise Stuck(f"{name} is no block")
        index = motor.find_item(world, name)
        if index is None:
            raise Stuck(f"no {name}")
        if index >= 9:
            raise Stuck(f"{name} is not in the hotbar")
        self._no_window()
        self._until(lambda: motor.equip(world, name, self._mouse), 6)
        cell = self._room(name)
        below = (cell[0], cell[1] - 1, cell[2])
        before = world.grid.get(*cell)

        def step() -> RawTick | None:
            if world.grid.get(*cell) != before:
                return None
            hit = world.crosshair()
            if hit is not None and hit.cell in (below, cell) and (hit.cell == cell or hit.face == (0, 1, 0)):
                return RawTick() if "right" in world.buttons else RawTick((), ("right",), (0, 0))
            if OUTLINES[before]:
                return motor.look(world, (cell[0] + 0.5, cell[1] + 0.3, cell[2] + 0.5), self._mouse)
            return motor.look(world, (cell[0] + 0.5, float(cell[1]), cell[2] + 0.5), self._mouse)

        self._until(step, 20)
        if world.grid.get(*cell) == before and not self._env.over:
            raise Stuck("could not place it")

    def _room(self, name: str) -> Cell:
        """Return the nearest free cell on the ground, ahead first, that is in sight and reach."""
        world = self._env.world
        x, y, z = feet(world)
        sin, cos = world.yaw_sin_cos()
        cells = [
            (round((dx * dx + dz * dz) - 1.5 * (cos * dz - sin * dx), 6), (x + dx, y + dy, z + dz))
            for dx in range(-3, 4) for dz in range(-3, 4) for dy in (0, 1, -1)
            if 1 < dx * dx + dz * dz <= 9
        ]  # fmt: skip
        for _, cell in sorted(cells):
            if hands.can_place(world, name, cell) and stand(world, cell):
                below = (cell[0], cell[1] - 1, cell[2])
                if self.full and world.block_at(below) in INTERACTIVE:
                    continue  # a click there would open it
                turn = sight.aim(world, (cell[0] + 0.5, float(cell[1]), cell[2] + 0.5), self._mouse.quantum)
                found = world.grid.cast(*world.eye(), *world.view(*turn), 4.4)
                if found is not None and (found[0] == cell or (found[0] == below and found[1] == (0, 1, 0))):
                    return cell
        raise Stuck("no room to place it")

    def _open(self, name: str) -> None:
        world = self._env.world
        if name == "inventory":
            window = world.inventory.window
            if window is not None and window.kind == "inventory":
                return
            self._no_window()
            self._until(lambda: None if world.inventory.window is not None else motor.tap(world, "e"), 4)
            return
        if name not in INTERACTIVE:
            raise Stuck(f"{name} has no window")
        window = world.inventory.window
        if window is not None and window.kind == WINDOW_OF_BLOCK.get(name):
            return
        thing = self._find(name, "block")
        self._no_window()
        before = len(self._env.events)

        def step() -> RawTick | None:
            used = any(e.kind == "interact_block" for e in self._env.events[before:])
            return None if used else motor.use(world, thing.cell, self._mouse)

        self._until(step)

    def _craft(self, name: str) -> None:
        world = self._env.world
        if not recipes_for(name):
            raise Stuck(f"{name} is not crafted")
        totals = world.inventory.totals()
        recipes = [r for r in recipes_for(name) if _covered(r, totals)]
        if not recipes:
            raise Stuck(f"ingredients of {name} are missing")
        by_hand = any(not r.needs_table for r in recipes)
        if not self.full and not by_hand:
            raise Stuck(f"{name} needs a table")
        window = world.inventory.window
        if window is None or window.grid_width < (2 if by_hand else 3):
            self._open("inventory" if by_hand else "crafting_table")
        made = self._made(name)

        def step() -> RawTick | None:
            now = world.inventory.window
            if now is None or self._made(name) > made:
                return None
            try:
                click = crafting.next_click(name, now)
            except ExpertStuck as stuck:
                raise Stuck(_short(str(stuck))) from None
            return motor.click_slot(world, click.slot, click.buttons[0], self._mouse)

        try:
            self._until(step)
        finally:
            if not self._env.over:
                self._no_window()

    def _made(self, name: str, event: str = "craft_item") -> int:
        return sum(e.count for e in self._env.events if e.kind == event and e.name == name)

    def _smelt(self, name: str) -> None:
        world = self._env.world
        window = world.inventory.window
        at_furnace = window is not None and window.kind == smelting.BLOCK
        if not at_furnace and not smelting.covered(name, world.inventory.stacks()):
            raise Stuck(f"nothing to smelt {name} of")
        self._open(smelting.BLOCK)
        made = self._made(name, "smelt_item")

        def step() -> RawTick | None:
            now, at = world.inventory.window, world.inventory.at
            if now is None or at is None or self._made(name, "smelt_item") > made:
                return None
            try:
                slot = smelting.next_shift_click(name, now, world.inventory.furnaces[at])
            except ExpertStuck as stuck:
                raise Stuck(_short(str(stuck))) from None
            return RawTick() if slot is None else motor.click_slot(world, slot, "left", self._mouse, shift=True)

        try:
            self._until(step, SMELT_BUDGET)
        finally:
            if not self._env.over:
                self._no_window()

    def _search(self, name: str) -> None:
        world = self._env.world
        if not self._known(name):
            raise Stuck(f"there is no {name}")
        self._no_window()
        place: Cell | None = None

        def step() -> RawTick | None:
            nonlocal place
            explore.look_round(world, name)
            if sight.find(world, name, self._mouse.quantum) is not None:
                explore.found(world)
                return None
            if place is None or (raw := explore.step(world, place, self._mouse)) is None:
                place = explore.next_place(world)
                raw = explore.step(world, place, self._mouse)
            return raw or RawTick()

        self._until(step)
        if not self._env.over:
            self._look_at(name)

    @staticmethod
    def _known(name: str) -> bool:
        return name in BLOCKS or name in MOBS or is_item(name.removeprefix("drop_"))

    def _deposit(self, name: str) -> None:
        world = self._env.world
        if motor.find_item(world, name) is None:
            raise Stuck(f"no {name}")
        self._open("chest")

        def step() -> RawTick | None:
            now = world.inventory.window
            if now is None:
                return None
            own = [s for s in PLAYER_SLOTS[now.kind] if (stack := now.slots[s]) is not None and stack[0] == name]
            room = any(s is None or (s[0] == name and s[1] < stack_size(name)) for s in now.slots[:27])
            if not own or not room:
                return None
            return motor.click_slot(world, own[0], "left", self._mouse, shift=True)

        try:
            self._until(step)
            if not self._env.over and motor.find_item(world, name) is not None:
                raise Stuck("the chest is full")
        finally:
            if not self._env.over:
                self._no_window()

    def _close(self) -> None:
        if self._env.world.inventory.window is None:
            raise Stuck("no window is open")
        self._no_window()


def _covered(recipe: Recipe, totals: dict[str, int]) -> bool:
    left = dict(totals)
    for options in recipe.cells:
        if options:
            item = next((o for o in options if left.get(o, 0) > 0), None)
            if item is None:
                return False
            left[item] -= 1
    return True


def _short(reason: str) -> str:
    return " ".join(reason.split()[:6])
