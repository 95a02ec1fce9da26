"""What the player's mouse and keys come down to in the protocol: one list of packets a tick. The client's half of
:mod:`crossagent_craftworld.hands` and ``keyboard``; what comes of it, the server says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossagent_craftworld import digging
from crossagent_craftworld.inventory import Inventory
from crossagent_minecraft_data.blocks import INTERACTIVE, dig_ticks
from crossagent_minecraft_data.windows import OUTSIDE, Stack, WindowEvent

if TYPE_CHECKING:
    from crossagent_craftworld.world import Hit
    from crossagent_minecraft.mirror import Mirror

_FACES = {(0, -1, 0): 0, (0, 1, 0): 1, (0, 0, -1): 2, (0, 0, 1): 3, (-1, 0, 0): 4, (1, 0, 0): 5}
_MISS = 10
_USE_EVERY = 4
_START, _CANCEL, _FINISH = 0, 1, 2
_CLICK, _QUICK, _SWAP, _DROP, _DRAG, _GATHER = 0, 1, 2, 4, 5, 6
"""Modes of a click packet."""
Op = list[Any]


class RemoteInventory(Inventory):
    """The player's stacks and the open window as the server told them; clicks become packets in ``ops``.

    A click acts when the button goes down. Minecraft waits for it to go up; the slots end up the same, and a right drag
    is the clicks it consists of. A left drag is spread when the button goes up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[Op] = []

    def press(self, button: str, shift: bool, now: int) -> list[WindowEvent]:
        """Press a mouse button where the cursor is."""
        window, slot = self.window, self.hovered()
        assert window is not None
        self.end_drag()
        double = button == "left" and not shift and self.double_clicked(slot, now)
        self.note_click(slot if button == "left" else None, now)
        result = slot == 0 and window.grid_width > 0
        if slot == -1:
            return []
        if double and slot >= 0 and not result and window.cursor is not None and window.slots[slot] is None:
            self.ops.append(["click", slot, 0, _GATHER])
            return []
        if window.cursor is not None and slot >= 0 and not shift and not result:
            self.begin_drag(button, slot)
        self.ops.append(["click", slot, 0 if button == "left" else 1, _QUICK if shift and slot >= 0 else _CLICK])
        return []

    def drag(self, passed: list[int]) -> None:
        """Extend a drag over more slots."""
        window, press = self.window, self._press
        if press is None or window is None:
            return
        button, before, carried, slots = press
        for slot in passed:
            fits = window.accepts(slot, carried[0]) and (
                before[slot] is None or (before[slot] or carried)[0] == carried[0]
            )
            if slot in slots or not fits or len(slots) >= carried[1]:
                continue
            slots += (slot,)
            if button == "right":
                self.ops.append(["click", slot, 1, _CLICK])
        self._press = (button, before, carried, slots)

    def release(self, button: str) -> None:
        """Let a mouse button go; a left drag over several slots is spread now."""
        if self._press is None or self._press[0] != button:
            return
        _, before, _, slots = self._press
        if button == "left" and len(slots) > 1 and before[slots[0]] is None:
            self.ops.append(["click", slots[0], 0, _CLICK])  # take up again what the press put down
            self.ops.append(["click", OUTSIDE, 0, _DRAG])
            self.ops += [["click", slot, 1, _DRAG] for slot in slots]
            self.ops.append(["click", OUTSIDE, 2, _DRAG])
        self.end_drag()

    def close(self) -> list[Stack]:
        """Close the window; where its stacks go is the server's."""
        if self.window is not None:
            self.ops.append(["close"])
        self.window, self.at = None, None
        self.end_drag()
        return []


def keys(world: Mirror, fresh: frozenset[str], held: frozenset[str]) -> None:
    """Act on keys that went down in this tick; ``held`` are all that are."""
    inventory = world.inventory
    window = inventory.window
    if window is not None and ("e" in fresh or "escape" in fresh):
        inventory.close()
        return
    slot = inventory.hovered()
    for n in range(1, 10):
        if str(n) not in fresh:
            continue
        if window is not None:
            inventory.end_drag()
            if slot >= 0:
                inventory.ops.append(["click", slot, n - 1, _SWAP])
        elif inventory.selected != n - 1:
            inventory.selected = n - 1
            world.swing = 0
            inventory.ops.append(["slot", n - 1])
    if "q" in fresh:
        whole = "left.control" in held
        if window is None:
            inventory.ops.append(["drop", whole])
        elif slot >= 0:
            inventory.end_drag()
            inventory.ops.append(["click", slot, int(whole), _DROP])
    if "f" in fresh and window is None:
        inventory.ops.append(["swap"])
    if "e" in fresh and window is None:
        inventory.open("inventory")
        _stop(world)


def buttons(world: Mirror, held: frozenset[str]) -> None:
    """Act on the buttons held in this tick, no window being open; ``world.buttons`` are still those of the last."""
    if "left" in held:
        _attack(world, "left" not in world.buttons)
    else:
        world.miss = 0
        _stop(world)
    if "right" not in held:
        world.use_wait = 0
    elif world.use_wait and "right" in world.buttons:
        world.use_wait -= 1
    else:
        _use(world)
        world.use_wait = _USE_EVERY - 1


def _attack(world: Mirror, edge: bool) -> None:
    hit = world.crosshair()
    if edge and hit is not None and hit.mob is not None:
        world.inventory.ops.append(["attack", hit.mob.ident])
        world.swing = 0
        _stop(world)
        return
    if edge and hit is None:
        world.miss, world.swing = _MISS, 0
    if world.miss:
        world.miss -= 1
    elif hit is not None and hit.kind == "block":
        _dig(world, hit)
    else:
        _stop(world)


def _dig(world: Mirror, hit: Hit) -> None:
    """Dig for one tick. The client counts the ticks, as in vanilla; the server takes its word."""
    dig = world.dig
    if dig.pause:
        dig.pause -= 1
        return
    held = world.inventory.held()
    tool = held[0] if held else None
    place = (*world.absolute(hit.cell), _FACES[hit.face])
    ticks = dig_ticks(hit.name, tool, in_water=world.body.in_water, on_ground=world.body.on_ground)
    if ticks < 0:
        return
    if dig.cell != hit.cell or dig.tool != tool:
        _stop(world)
        dig.cell, dig.tool, dig.progress = hit.cell, tool, 0.0
        world.inventory.ops.append(["dig", _START, *place])
    if ticks:
        dig.progress += 1.0 / ticks
        if dig.progress < 1.0 - 1e-9:
            return
    world.inventory.ops.append(["dig", _FINISH, *place])
    dig.stop()
    if ticks:
        dig.pause = digging.PAUSE


def _stop(world: Mirror) -> None:
    if world.dig.cell is not None:
        world.inventory.ops.append(["dig", _CANCEL, *world.absolute(world.dig.cell), 1])
    world.dig.stop()


def _use(world: Mirror) -> None:
    hit = world.crosshair()
    if hit is None or hit.kind != "block":
        world.inventory.ops.append(["item"])
        return
    eye, view = world.eye(), world.view()
    point = [e + v * hit.distance - c for e, v, c in zip(eye, view, hit.cell, strict=True)]
    world.inventory.ops.append(["use", *world.absolute(hit.cell), _FACES[hit.face], *point])
    if hit.name in INTERACTIVE and not world.sneaking:
        world.emit("interact_block", hit.name)
        _stop(world)
