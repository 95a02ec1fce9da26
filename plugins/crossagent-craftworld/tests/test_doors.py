"""Doors, trapdoors and gates are opened and shut by hand."""

import math

import pytest

from crossagent.plugin import RawTick, Task
from crossagent_craftworld import hands
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.palette import STATES, intern, opened

ENV = CraftWorld()


def before(*states, hand=None):
    """A player who looks south at blocks stacked from the ground up, one block away."""
    ENV.reset(Task("t", "t", "", "craftworld", setup={"hand": hand}, max_ticks=10**6), 2)
    world = ENV.world
    x, y, z = (math.floor(c) for c in (world.body.x, world.body.y, world.body.z))
    for i in range(-1, 2):
        for k in range(5):
            world.grid.set(x + i, y - 1, z + k, intern("stone"))
            for up in range(3):
                world.grid.set(x + i, y + up, z + k, intern("air" if i == 0 else "stone"))
    for up, state in enumerate(states):
        world.grid.set(x, y + up, z + 2, intern(state))
    world.yaw, world.pitch, world.moved = 0, 0, world.moved + 1
    return world, (x, y, z + 2)


def use(world, *keys):
    world.tick(RawTick(keys, ("right",)))
    world.tick(RawTick(keys))


def walked(world, ticks=25):
    z = world.body.z
    for _ in range(ticks):
        world.tick(RawTick(("w",)))
    return world.body.z - z


def state(world, cell, up=0):
    return STATES[world.grid.get(cell[0], cell[1] + up, cell[2])]


def test_a_door_opens_whole_lets_one_through_and_shuts():
    world, cell = before("oak_door[facing=north]", "oak_door[facing=north,half=upper]")
    assert walked(world, 20) < 2.05  # its panel is at the far side of the cell
    world.body.z -= 0.5
    use(world)
    assert "open=true" in state(world, cell)
    assert "open=true" in state(world, cell, 1)
    assert [e.name for e in ENV.events if e.kind == "interact_block"] == ["oak_door"]
    assert walked(world, 30) > 2.0
    world, cell = before("oak_door[facing=north]", "oak_door[facing=north,half=upper]")
    use(world)
    assert "open=true" in state(world, cell)
    assert hands._move_door(world, cell)
    assert "open=false" in state(world, cell)
    assert "open=false" in state(world, cell, 1)


def test_iron_doors_and_other_blocks_do_not_move():
    assert opened("iron_door") is None
    assert opened("stone") is None
    assert opened("oak_fence_gate") is not None
    world, cell = before("stone", "iron_trapdoor[open=true,facing=north]")
    use(world)
    assert "open=true" in state(world, cell, 1)


def test_a_sneaker_places_against_a_door_instead():
    world, cell = before("oak_door[facing=north]", "oak_door[facing=north,half=upper]", hand="cobblestone")
    world.tick(RawTick(("left.shift",)))
    use(world, "left.shift")
    assert "open" not in state(world, cell).replace("open=false", "")
    assert ENV.world.inventory.totals() == {}


@pytest.mark.parametrize("name", ["oak_trapdoor", "spruce_fence_gate"])
def test_breaking_an_open_one_gives_one(name):
    turned = opened(name)
    assert turned is not None
    assert opened(turned) != turned
    assert "open=false" in (opened(turned) or "")
