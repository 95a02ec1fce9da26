"""How fast mobs walk; mobs that swim, fly and split."""

import math

import pytest

from crossagent.plugin import RawTick, Task
from crossagent_craftworld import mobs
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.palette import FLUID, intern
from crossagent_minecraft_data.entities import FLYERS, MOBS, SWIMMERS

ENV = CraftWorld(difficulty="peaceful")


def start(kind, seed=1):
    setup = {"mobs": [[kind, 5]], "hand": "diamond_sword"}
    ENV.reset(Task("t", "t", "", "craftworld", setup=setup, max_ticks=10**6), seed)
    return ENV.world, ENV.world.mobs[0]


def in_water(world, mob):
    b = mob.body
    return FLUID[world.grid.get(math.floor(b.x), math.floor(b.y + 0.05), math.floor(b.z))] == 1


@pytest.mark.parametrize("kind", sorted(SWIMMERS))
def test_a_swimmer_keeps_moving_and_stays_in_its_water(kind):
    world, mob = start(kind)
    assert in_water(world, mob)
    places = set()
    for tick in range(400):
        if tick == 100:
            mobs.hit(world, mob, 0.1, sprinting=True)
        ENV.interface("control").step()
        assert in_water(world, mob), tick
        places.add((round(mob.body.x, 1), round(mob.body.z, 1)))
    assert len(places) > (2 if kind == "elder_guardian" else 8)


@pytest.mark.parametrize("kind", sorted(FLYERS))
def test_a_flyer_stays_in_the_air_and_within_reach(kind):
    world, mob = start(kind)
    heights = []
    for _ in range(400):
        ENV.interface("control").step()
        heights.append(mob.body.y - world.surface(math.floor(mob.body.x), math.floor(mob.body.z)) - 1)
    assert max(heights) < 4
    assert sum(heights[50:]) / len(heights[50:]) > 0.05  # the hunters fly at the chest


def test_a_slime_falls_into_smaller_ones_and_the_smallest_leave_slime():
    world, big = start("slime")
    assert (big.body.half * 2, big.health) == (MOBS["slime"].width, 16)
    mobs.hit(world, big, 100, sprinting=False)
    assert 2 <= len(world.mobs) <= 4
    assert not world.drops
    assert {(m.size, m.health, m.body.half * 2) for m in world.mobs} == {(2, 4.0, MOBS["slime"].width / 2)}
    middle = world.mobs[0]
    mobs.hit(world, middle, 100, sprinting=False)
    small = [m for m in world.mobs if m.size == 1]
    assert {m.health for m in small} == {1.0}
    count = len(world.mobs)
    for mob in small:
        mobs.hit(world, mob, 100, sprinting=False)
    assert len(world.mobs) == count - len(small)
    assert [e.name for e in ENV.events if e.kind == "kill_entity"] == ["slime"] * (2 + len(small))


def test_sizes_are_in_snapshots():
    world, big = start("magma_cube")
    mobs.hit(world, big, 1000, sprinting=False)
    saved, hashed = ENV.snapshot(), ENV.state_hash()
    for _ in range(30):
        ENV.interface("control").step()
    ENV.restore(saved)
    assert ENV.state_hash() == hashed
    assert {m.size for m in world.mobs} == {2}
    assert {m.body.half for m in world.mobs} == {MOBS["magma_cube"].width / 4}


@pytest.mark.parametrize(("kind", "speed"), [("villager", 0.3036), ("cow", 0.1943), ("zombie", 0.1142)])
def test_steady_speed_on_level_ground(kind, speed):
    """2.1586 · (attribute · modifier)² blocks a tick: a villager flees at 0.5 · 1.5, a cow at 1.5, a zombie hunts at 1."""
    world, mob = start(kind)
    sx, sy, sz = world.scene.size
    for x in range(sx):
        for z in range(sz):
            for y in range(sy):
                world.grid.set(x, y, z, intern("stone") if y <= 7 else 0)
    world.body.x, world.body.y, world.body.z = 24.5, 8.0, 8.5
    b = mob.body
    b.x, b.y, b.z = 24.5, 8.0, 24.0 if kind == "zombie" else 10.5
    mob.panic = 0 if kind == "zombie" else 100
    for _ in range(20):
        before = b.z
        world.tick(RawTick())
    assert abs(b.z - before) == pytest.approx(speed, rel=0.03)
