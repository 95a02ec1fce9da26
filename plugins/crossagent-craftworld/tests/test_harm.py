"""What hurts the player besides mobs, and what armour leaves of it; the poses."""

import pytest

from crossagent.plugin import RawTick, Task
from crossagent_craftworld import harm, player
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.palette import intern
from crossagent_minecraft_data.entities import after_armor, worn_armor

ENV = CraftWorld()


@pytest.fixture
def world():
    ENV.reset(Task(name="t", category="t", instruction="", env="craftworld", setup={}, max_ticks=10**6), 1)
    return ENV.world


def fill(world, state, up=(0, 1, 2, 3), wide=3):
    x, y, z = int(world.body.x), int(world.body.y), int(world.body.z)
    for i in range(-wide, wide + 1):
        for k in range(-wide, wide + 1):
            for dy in up:
                world.grid.set(x + i, y + dy, z + k, intern(state))


def wait(world, ticks, *keys):
    for _ in range(ticks):
        world.tick(RawTick(keys))


def test_one_drowns_after_fifteen_seconds_and_breathes_again(world):
    fill(world, "water")
    world.time = 30  # no healing when it counts
    wait(world, harm.AIR + 19)
    assert (world.health, world.air) == (20.0, -19)
    wait(world, 1)
    assert (world.health, world.air) == (18.0, 0)
    wait(world, 20)
    assert world.health == 16.0
    fill(world, "air")
    wait(world, 10)
    assert world.air == 40 - 0


def test_lava_burns_and_goes_on_burning_until_water(world):
    fill(world, "lava", up=(0, 1))
    wait(world, 1)
    assert world.health == 16.0
    wait(world, 10)
    assert world.health == 12.0
    fill(world, "air", up=(0, 1))
    wait(world, 40)
    assert 9.0 <= world.health < 12.0
    assert world.fire > 200
    fill(world, "water", up=(0,))
    wait(world, 1)
    assert world.fire == 0


def test_cactus_and_hot_ground(world):
    x, y, z = int(world.body.x), int(world.body.y), int(world.body.z)
    world.grid.set(x, y - 1, z, intern("magma_block"))
    wait(world, 1)
    assert world.health == 19.0
    wait(world, 30, "left.shift")
    assert world.health == 19.0
    world.grid.set(x, y - 1, z, intern("stone"))
    for dz in (1, -1):
        world.grid.set(x, y, z + dz, intern("cactus"))
    world.yaw = 0
    wait(world, 20, "w")
    assert world.health < 19.0


@pytest.mark.parametrize(("ground", "damage"), [("stone", 7), ("hay_block", 2), ("white_bed", 4), ("slime_block", 0)])
def test_soft_landings(world, ground, damage):
    fill(world, "air", up=range(12))
    fill(world, ground, up=(-1,))
    world.body.y = float(int(world.body.y)) + 10.0
    world.fell_from = world.body.y
    world.body.on_ground = False
    wait(world, 45)
    assert 20 - world.health == pytest.approx(damage, abs=1.0 if ground == "white_bed" else 0.01)


def test_armour_takes_its_share_and_a_fall_ignores_it(world):
    iron = [f"iron_{piece}" for piece in ("helmet", "chestplate", "leggings", "boots")]
    assert worn_armor(iron) == (15, 0)
    assert worn_armor([f"netherite_{p}" for p in ("helmet", "chestplate", "leggings", "boots")]) == (20, 12)
    assert worn_armor(["carved_pumpkin", "elytra"]) == (0, 0)
    assert after_armor(10, 15) == pytest.approx(10 * (1 - 10 / 25))
    assert after_armor(10, 20, 12) == pytest.approx(10 * (1 - 18 / 25))
    world.inventory.worn[:4] = [(piece, 1) for piece in iron]
    player.hurt(world, 10.0, 0.0, 0.0)
    assert world.health == pytest.approx(14.0)
    world.hurt = 0
    player.hurt(world, 10.0, 0.0, 0.0, armored=False)
    assert world.health == pytest.approx(4.0)


def test_poses_fit_where_they_are(world):
    wait(world, 3, "left.shift")
    assert world.body.height == player.SNEAKING
    x, y, z = int(world.body.x), int(world.body.y), int(world.body.z)
    world.grid.set(x, y + 1, z, intern("stone_slab[type=top]"))
    wait(world, 3)
    assert world.body.height == player.SNEAKING  # no room to stand up
    world.grid.set(x, y + 1, z, intern("air"))
    wait(world, 1)
    assert world.body.height == player.STANDING
    fill(world, "water", up=range(5), wide=6)
    wait(world, 12, "w", "left.control")
    assert world.swimming
    assert world.body.height == player.SWIMMING
    snapshot, before = ENV.snapshot(), ENV.state_hash()
    wait(world, 20, "w", "left.control")
    ENV.restore(snapshot)
    assert (ENV.state_hash(), world.body.height) == (before, player.SWIMMING)
