"""The world as the client knows it: CraftWorld's :class:`World`, kept up to date by the bridge instead of by rules.

Everything that looks at a world (sight, paths, observations, experts, skills) works on it unchanged. Cells are relative to
``offset``, so that any part of a large world can be looked at.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crossagent.plugin import RawTick
from crossagent_craftworld import terrain
from crossagent_craftworld.drops import Drop
from crossagent_craftworld.furnace import Furnace
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.mobs import Mob
from crossagent_craftworld.physics import Body
from crossagent_craftworld.world import PITCH_LIMIT, TURN, World
from crossagent_minecraft import hands, states
from crossagent_minecraft.hands import RemoteInventory
from crossagent_minecraft_data.entities import MOBS
from crossagent_minecraft_data.windows import PLAYER_SLOTS, Stack

_OWN = PLAYER_SLOTS["inventory"]
Call = Callable[..., dict[str, Any]]
"""Sends one command to the bridge and returns its answer."""


class Mirror(World):
    """One episode's state on the client's side."""

    inventory: RemoteInventory

    def __init__(
        self, scene: terrain.Scene, seed: int, emit: Callable[[str, str, int], None], offset: Cell = (0, 0, 0)
    ) -> None:
        """``offset`` is the cell of the world in which the scene's corner lies."""
        super().__init__(scene, seed, emit)
        self.inventory = RemoteInventory()
        self.offset = offset
        self.sent: list[dict[str, Any]] = []
        """Every tick's message: what brings a fresh server to this state."""
        self.hidden_state: Any = None
        """What only the server knows, for the hash."""
        self._call: Call | None = None

    def marks(self) -> terrain.Marks:
        """Return the landmarks; of a part of a server's world, those found when it was entered."""
        return self._marks if self._marks is not None else super().marks()

    _marks: terrain.Marks | None = None

    def absolute(self, cell: Cell) -> Cell:
        """Return the server's cell of one of ours."""
        return cell[0] + self.offset[0], cell[1] + self.offset[1], cell[2] + self.offset[2]

    # -- beginning -----------------------------------------------------------------------------------------------
    def start_message(self, seed: int) -> dict[str, Any]:
        """Return what a fresh embedded server needs to be in this state, before the first tick."""
        blocks = states.to_protocol(np.frombuffer(self.grid.blocks, dtype=np.uint16))
        stacks = [(slot, stack) for slot, stack in zip(_OWN, self.inventory.own, strict=True) if stack is not None]
        return {
            "scene": base64.b64encode(blocks.astype("<u2").tobytes()).decode(),
            "size": list(self.grid.size),
            "seed": seed & 0x7FFFFFFF,
            "start": {
                "inventory": [[slot, *stack] for slot, stack in stacks],
                "held": self.inventory.selected,
                "position": [self.body.x, self.body.y, self.body.z],
                "look": [self.yaw, self.pitch],
                "mobs": [[mob.kind, mob.body.x, mob.body.y, mob.body.z, mob.yaw] for mob in self.mobs],
                "difficulty": self.difficulty,
                "resistance": self.resistance,
            },
        }

    def begin(self, call: Call, answer: Mapping[str, Any]) -> None:
        """Go on with a server that is in this state; ``answer`` is what it said to it."""
        self._call = call
        self.hidden_state = answer.get("hidden")
        self._update(answer["view"])

    def take_over(self, marks: terrain.Marks) -> None:
        """Take these for the landmarks: the scene is a part of a server's world."""
        self._marks = marks

    # -- the tick ------------------------------------------------------------------------------------------------
    def tick(self, raw: RawTick) -> None:
        """Send one tick's inputs and take in what came of them."""
        assert self._call is not None
        held, buttons = frozenset(raw.keys), frozenset(raw.buttons)
        inventory = self.inventory
        inventory.ops = []
        was_open = inventory.window is not None
        dx, dy = raw.camera
        if was_open:
            for button in sorted(self.buttons - buttons):
                inventory.release(button)
            if passed := inventory.move_cursor(dx, dy):
                inventory.drag(passed)
        elif dx or dy:
            self.yaw = (self.yaw + dx + TURN // 2) % TURN - TURN // 2
            self.pitch = max(-PITCH_LIMIT, min(PITCH_LIMIT, self.pitch + dy))
            self.moved += 1
        if held - self.keys:
            hands.keys(self, held - self.keys, held)
        is_open = inventory.window is not None
        self.swing = min(self.swing + 1, 100)
        if was_open and is_open:
            for button in ("left", "right"):
                if button in buttons - self.buttons:
                    inventory.press(button, "left.shift" in held, self.time)
        elif not is_open and not was_open:
            hands.buttons(self, buttons)
        self.keys, self.buttons = held, buttons
        controls = self._controls(frozenset() if is_open else held)
        message = {"keys": controls, "look": [self.yaw, self.pitch], "ops": inventory.ops}
        self.sent.append(message)
        answer = self._call("tick", **message)
        self.time += 1
        self.hidden_state = answer.get("hidden")
        self._update(answer["view"])

    def _controls(self, keys: frozenset[str]) -> list[str]:
        """Return the movements these keys make, sprinting by vanilla's rule: forwards, from a key, until a wall."""
        forward = ("w" in keys) - ("s" in keys)
        strafe = ("d" in keys) - ("a" in keys)
        self.sneaking = "left.shift" in keys
        if forward <= 0 or self.sneaking or self.body.hit_wall:
            self.sprinting = False
        elif "left.control" in keys:
            self.sprinting = True
        wanted = {
            "forward": forward > 0, "back": forward < 0, "right": strafe > 0, "left": strafe < 0,
            "jump": "space" in keys, "sneak": self.sneaking, "sprint": self.sprinting,
        }  # fmt: skip
        return [name for name, on in wanted.items() if on]

    # -- what the server says ------------------------------------------------------------------------------------
    def _update(self, view: Mapping[str, Any]) -> None:
        body, (ox, oy, oz) = self.body, self.offset
        before = (body.x, body.y, body.z)
        x, y, z = view["p"]
        body.x, body.y, body.z = x - ox, y - oy, z - oz
        body.vx, body.vy, body.vz = view["v"]
        flags = [bool(flag) for flag in view["f"]]
        body.on_ground, body.hit_wall, body.in_water, body.in_lava, body.in_web = flags
        body.jump_wait = view["j"]
        self.health = float(view["hp"])
        for bx, by, bz, state in view["blocks"]:
            self.grid.set(bx - ox, by - oy, bz - oz, states.ident(state))
        mobs, drops = self.mobs, self.drops
        self._beings(view)
        if (body.x, body.y, body.z) != before or mobs or self.mobs or drops or self.drops:
            self.moved += 1
        self._stacks(view)
        for kind, name, count in view["events"]:
            self.emit(kind, name, count)

    def _beings(self, view: Mapping[str, Any]) -> None:
        ox, oy, oz = self.offset
        known = {mob.ident: mob for mob in self.mobs}
        self.mobs = []
        for ident, kind, x, y, z, yaw in view["mobs"]:
            if kind not in MOBS:
                continue
            mob = known.get(ident) or Mob(kind, ident, 0.0, 0.0, 0.0)
            mob.body.x, mob.body.y, mob.body.z, mob.yaw = x - ox, y - oy, z - oz, yaw
            self.mobs.append(mob)
        lying = {drop.body.ident: drop for drop in self.drops if isinstance(drop.body, _Lying)}
        self.drops = []
        for ident, item, count, x, y, z, ground in view["drops"]:
            drop = lying.get(ident) or Drop(item, count, _Lying(ident), 0)
            at = (x - ox, y - oy, z - oz)
            drop.resting = drop.body.on_ground = bool(ground) or at == (drop.body.x, drop.body.y, drop.body.z)
            drop.count = count
            drop.body.x, drop.body.y, drop.body.z = at
            self.drops.append(drop)

    def _stacks(self, view: Mapping[str, Any]) -> None:
        inventory = self.inventory
        slots = [_stack(s) for s in view["inv"]]
        inventory.selected = view["held"]
        inventory.worn = [*slots[5:9], slots[45]]
        inventory.own = [slots[i] for i in _OWN]
        theirs = view["win"]
        if theirs is None:
            if inventory.window is not None and inventory.window.kind != "inventory":
                inventory.window, inventory.at = None, None
                inventory.end_drag()
        else:
            kind, slots, at, (burn, total, progress, _) = theirs
            cell = None if at is None else (at[0] - self.offset[0], at[1] - self.offset[1], at[2] - self.offset[2])
            if inventory.window is None or inventory.window.kind != kind:
                inventory.open(kind, cell)
            slots = [_stack(s) for s in slots]
            if kind == "furnace" and cell is not None:
                furnace = inventory.furnaces.setdefault(cell, Furnace())
                furnace.burn, furnace.burn_total, furnace.progress = burn, total, progress
        if inventory.window is not None:
            inventory.window.slots[:] = slots
            inventory.window.cursor = _stack(view["cur"])

    # -- state ---------------------------------------------------------------------------------------------------
    def canonical(self) -> tuple[Any, ...]:
        """Return the whole state, the server's part included."""
        return (*super().canonical(), self.hidden_state)


class _Lying(Body):
    """The body of a stack on the ground, with the protocol's id of it."""

    __slots__ = ("ident",)

    def __init__(self, ident: int) -> None:
        super().__init__(0.0, 0.0, 0.0, 0.25, 0.25)
        self.ident = ident


def _stack(value: Sequence[Any] | None) -> Stack | None:
    return (value[0], value[1]) if value else None
