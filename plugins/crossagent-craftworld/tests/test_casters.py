"""Mobs that shoot, cast or explode, and what they shoot."""

import itertools
import math

import pytest

from crossagent.plugin import RawTick, Task
from crossagent_craftworld import casters, mobs, shots
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.palette import intern
from crossagent_minecraft_data.entities import RANGED

ENV = CraftWorld(difficulty="normal")


def start(seed=1, mobs=(), **setup):
    setup = {"mobs": [list(m) for m in mobs], **setup}
    ENV.reset(Task(name="t", category="t", instruction="", env="craftworld", setup=setup, max_ticks=10**6), seed)
    return ENV.world


def place(kind, z=4.0):
    """A world with that mob alone on a plain of stone, ``z`` blocks south of the player."""
    world = start()
    b = world.body
    x0, y0, z0 = int(b.x), int(b.y), int(b.z)
    for x in range(x0 - 12, x0 + 13):
        for z_ in range(z0 - 12, z0 + 13):
            for y in range(y0 - 1, y0 + 7):
                world.grid.set(x, y, z_, intern("stone" if y < y0 else "air"))
    return world, world.add_mob(kind, b.x, b.y, b.z + z)


def run(world, ticks):
    for _ in range(ticks):
        world.tick(RawTick())


def seen_kinds(world, ticks):
    kinds = set()
    for _ in range(ticks):
        world.tick(RawTick())
        kinds |= {shot.kind for shot in world.shots}
    return kinds


@pytest.mark.parametrize(
    ("kind", "shot"),
    [("skeleton", "arrow"), ("stray", "arrow"), ("pillager", "arrow"), ("witch", "potion"), ("evoker", "fangs"),
     ("shulker", "shulker_bullet"), ("ghast", "fireball"), ("wither", "wither_skull")],
)  # fmt: skip
def test_each_shoots_its_own_and_it_hurts(kind, shot):
    world, _ = place(kind, 5.0)
    world.resistance = 2
    assert seen_kinds(world, 160) == {shot}
    assert world.health < 20


def test_a_skeleton_draws_for_a_second_and_rests_for_two():
    world, skeleton = place("skeleton", 6.0)
    world.resistance = 5
    when, before = [], 0
    for tick in range(200):
        world.tick(RawTick())
        if len(world.shots) > before:
            when.append(tick)
        before = len(world.shots)
    gaps = {b - a for a, b in itertools.pairwise(when)}
    assert gaps == {60}  # 20 to draw, 40 to rest at normal difficulty
    assert skeleton in world.mobs


def test_archers_keep_their_distance():
    world, skeleton = place("skeleton", 2.0)
    world.resistance = 5
    run(world, 60)
    assert math.hypot(skeleton.body.x - world.body.x, skeleton.body.z - world.body.z) > 3.0


def test_an_arrow_flies_as_in_minecraft_and_walls_stop_it():
    world, _ = place("cow", 9.0)
    arrow = shots.Shot("arrow", (world.body.x + 3, world.body.y + 3, world.body.z), (0.0, 0.0, 1.6), 3.0)
    assert arrow.tick(world)
    assert arrow.z == pytest.approx(world.body.z + 1.6)
    assert arrow.tick(world)
    assert arrow.z == pytest.approx(world.body.z + 1.6 + 1.6 * 0.99)
    assert arrow.y == pytest.approx(world.body.y + 3 - 0.05)
    x, y, z = int(arrow.x), int(arrow.y), int(arrow.z)
    world.grid.set(x, y, z + 1, intern("stone"))
    assert not arrow.tick(world)


def test_a_fireball_speeds_up_to_its_limit():
    world, _ = place("cow", 9.0)
    ball = shots.Shot("small_fireball", (world.body.x + 5, world.body.y + 30, world.body.z - 20), (0.0, 0.0, 1.0), 5.0)
    steps = []
    for _ in range(4):
        before = ball.z
        ball.tick(world)
        steps.append(ball.z - before)
    assert steps == pytest.approx([0.0, 0.095, 0.095 + 0.095 * 0.95, 0.095 * (1 + 0.95 + 0.95**2)])


def test_a_creeper_hisses_for_thirty_ticks_and_blows_a_hole():
    world, creeper = place("creeper", 2.5)
    world.resistance = 4
    heard = []
    world._emit = lambda kind, name, count: heard.append((kind, name))
    run(world, 29)
    assert creeper in world.mobs
    at = (int(creeper.body.x), int(creeper.body.y) - 1, int(creeper.body.z))
    assert world.block_at(at) == "stone"
    run(world, 8)
    assert creeper not in world.mobs
    assert 0 < world.health < 20
    assert world.block_at(at) == "air"
    assert not [e for e in heard if e[0] in ("kill_entity", "mine_block")]  # nobody's doing
    assert {d.item for d in world.drops} <= {"cobblestone", "dirt"}


def test_a_creeper_gives_up_when_one_gets_away():
    world, creeper = place("creeper", 2.5)
    run(world, 15)
    assert creeper.charge > 5
    creeper.body.z = world.body.z + 9.0
    run(world, 30)
    assert creeper.charge == 0
    assert world.health == 20


def test_a_blast_wears_off_with_distance_and_stops_at_walls():
    damage = {}
    for name, away, wall in (("near", 2.0, False), ("far", 4.5, False), ("walled", 2.0, True)):
        world, _ = place("cow", 11.0)
        b = world.body
        for side in (1, 2) if wall else ():
            for up in range(4):
                for dx in range(-4, 5):
                    world.grid.set(int(b.x) + dx, int(b.y) + up, int(b.z) + side, intern("obsidian"))
        world.resistance = 3
        shots.explode(world, (b.x, b.y + 0.5, b.z + away + (2.0 if wall else 0.0)), 3.0)
        damage[name] = 20 - world.health
    assert damage["near"] > damage["far"] > 0
    assert damage["walled"] < damage["far"]


def test_a_shulker_is_armoured_while_it_is_shut():
    world, shulker = place("shulker", 2.0)
    shulker.charge = 0
    mobs.hit(world, shulker, 7.0, False)
    shut = 30 - shulker.health
    shulker.health, shulker.hurt, shulker.charge = 30.0, 0, 100
    mobs.hit(world, shulker, 7.0, False)
    assert 30 - shulker.health == 7.0 > 2 * shut > 0


def test_an_evoker_calls_vexes_and_a_witch_drinks():
    world, _ = place("evoker", 6.0)
    world.resistance = 5
    run(world, 800)
    assert "vex" in {m.kind for m in world.mobs}
    world, witch = place("witch", 11.0)
    world.resistance = 5
    witch.health = 5.0
    run(world, 120)
    assert witch.health > 5.0


@pytest.mark.parametrize("kind", sorted(RANGED))
def test_they_are_part_of_the_state(kind):
    world, _ = place(kind, 5.0 if kind != "ender_dragon" else 12.0)
    world.resistance = 5
    run(world, 45)
    snapshot, before = ENV.snapshot(), ENV.state_hash()
    run(world, 60)
    after = ENV.state_hash()
    ENV.restore(snapshot)
    assert ENV.state_hash() == before
    run(world, 60)
    assert ENV.state_hash() == after != before


def test_every_ranged_mob_of_the_shared_list_has_its_way_of_fighting():
    assert set(casters._WAYS) == RANGED
