"""What tapped keys do, and what the mouse does in an open window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from crossagent_craftworld import drops
from crossagent_minecraft_data.windows import WindowEvent

if TYPE_CHECKING:
    from crossagent_craftworld.world import World


def pressed(world: World, fresh: frozenset[str], keys: frozenset[str]) -> None:
    """Act on keys that went down in this tick; ``keys`` are all that are held."""
    inventory = world.inventory
    window = inventory.window
    if not fresh:
        return
    if window is not None and ("e" in fresh or "escape" in fresh):
        throw(world, inventory.close())
        return
    for n in range(1, 10):
        if str(n) in fresh:
            if window is not None:
                inventory.end_drag()
                _act(world, lambda n=n: window.swap_hotbar(inventory.hovered(), n))  # type: ignore[misc]
            elif inventory.selected != n - 1:
                inventory.selected = n - 1
                world.swing = 0
    if "q" in fresh:
        whole = "left.control" in keys
        if window is not None:
            inventory.end_drag()
            _act(world, lambda: window.drop(inventory.hovered(), whole))
        else:
            stack = inventory.take_held(64 if whole else 1)
            if stack is not None:
                throw(world, [stack])
    if "f" in fresh and window is None:
        held = inventory.held()
        inventory.put(inventory.selected, inventory.worn[4])
        inventory.worn[4] = held
    if "e" in fresh and window is None:
        inventory.open("inventory")
        world.dig.stop()


def mouse_in_window(world: World, buttons: frozenset[str], shift: bool) -> None:
    """Act on buttons that went down in this tick with a window open."""
    for button in ("left", "right"):
        if button in buttons and button not in world.buttons:
            _act(world, lambda b=button: world.inventory.press(b, shift, world.time))  # type: ignore[misc]


def throw(world: World, stacks: list[tuple[str, int]]) -> None:
    """Throw stacks into the world along the view."""
    for item, count in stacks:
        world.drops.append(drops.thrown(item, count, world.eye(), world.view()))


def _act(world: World, act: Callable[[], list[WindowEvent]]) -> None:
    """Do something in the open window; what it makes is an event, what it throws out lands in the world."""
    before = world.inventory.smelted()
    for event in act():
        if event.kind == "craft":
            world.emit("craft_item", event.item, event.count)
        else:
            throw(world, [(event.item, event.count)])
    after = world.inventory.smelted()
    if before is not None and (taken := before[1] - (after[1] if after is not None else 0)) > 0:
        world.emit("smelt_item", before[0], taken)
