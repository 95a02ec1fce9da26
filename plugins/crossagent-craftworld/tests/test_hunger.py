"""Hunger: what tires, what heals, what starves, and eating; and that it is off by default."""

import pytest

from crossagent.plugin import SkillFailed, Task
from crossagent_craftworld.env import CraftWorld
from crossagent_minecraft_data.foods import FOODS

ENV = CraftWorld(hunger=True, skills="full")


def start(inventory=(), difficulty="easy"):
    env = ENV if difficulty == "easy" else CraftWorld(hunger=True, difficulty=difficulty)
    setup = {"inventory": [list(s) for s in inventory]}
    env.reset(Task("t", "t", "", "craftworld", setup=setup, max_ticks=10**6), 2)
    return env, env.world


def wait(env, ticks):
    for _ in range(ticks):
        env.interface("control").step()


def test_saturation_goes_before_food():
    env, world = start()
    hunger = world.hunger
    for food, saturation in ((20, 4.0), (20, 3.0), (20, 2.0), (20, 1.0), (20, 0.0), (19, 0.0), (18, 0.0)):
        hunger.exhaustion += 4.001
        wait(env, 1)
        assert (hunger.food, hunger.saturation) == (food, saturation)


def test_sprinting_tires_and_a_hungry_player_does_not_sprint():
    env, world = start()
    x, z = world.body.x, world.body.z
    for _ in range(10):
        env.interface("control").step(["w", "left.control"])
    run = ((world.body.x - x) ** 2 + (world.body.z - z) ** 2) ** 0.5
    assert world.hunger.exhaustion == pytest.approx(0.1 * run, rel=0.2)
    world.hunger.food = 6
    wait(env, 1)
    env.interface("control").step(["w", "left.control"])
    assert not world.sprinting


def test_full_heals_fast_by_saturation_then_slowly():
    env, world = start()
    world.health = 10.0
    wait(env, 10)
    assert world.health == pytest.approx(10 + 5 / 6)
    world.hunger.saturation, world.hunger.exhaustion, health = 0.0, 0.0, world.health
    wait(env, 79)
    assert world.health == health
    wait(env, 1)
    assert world.health == health + 1
    assert world.hunger.exhaustion == pytest.approx(6)
    world.hunger.food, health = 17, world.health
    wait(env, 200)
    assert world.health == health


@pytest.mark.parametrize(("difficulty", "least"), [("easy", 10), ("normal", 1), ("hard", 0)])
def test_starving_stops_where_the_difficulty_says(difficulty, least):
    env, world = start(difficulty=difficulty)
    world.hunger.food, world.hunger.saturation = 0, 0.0
    wait(env, 80 * 22)
    assert world.health == least


def test_eating_takes_32_ticks_of_held_use():
    env, world = start([("bread", 3)])
    slot = next(i for i, s in enumerate(world.inventory.own) if s is not None)
    world.inventory.own[world.inventory.selected], world.inventory.own[slot] = world.inventory.own[slot], None
    control = env.interface("control")
    world.pitch, world.moved = -600, world.moved + 1
    for _ in range(40):
        control.step([], ["right"])
    assert world.inventory.totals() == {"bread": 3}  # not hungry
    world.hunger.food, world.hunger.saturation = 10, 0.0
    for _ in range(31):
        control.step([], ["right"])
    control.step()
    for _ in range(31):
        control.step([], ["right"])
    assert world.hunger.food == 10  # letting go begins anew
    control.step([], ["right"])
    assert (world.hunger.food, world.hunger.saturation) == (15, 6.0)
    assert world.inventory.totals() == {"bread": 2}
    assert [(e.kind, e.name) for e in env.events] == [("eat", "bread")]


def test_the_skill_eats_and_a_bowl_stays():
    env, world = start([("mushroom_stew", 1), ("dirt", 2)])
    with pytest.raises(SkillFailed, match="not hungry"):
        env.interface("skills").call("eat", "mushroom_stew")
    world.hunger.food = 8
    env.interface("skills").call("eat", "mushroom_stew")
    assert (world.hunger.food, world.inventory.totals()) == (14, {"bowl": 1, "dirt": 2})
    with pytest.raises(SkillFailed, match="cannot be eaten"):
        env.interface("skills").call("eat", "dirt")


def test_hunger_is_in_snapshots_and_in_the_text():
    env, world = start()
    world.hunger.food, world.hunger.exhaustion = 12, 3.9
    saved, hashed = env.snapshot(), env.state_hash()
    assert "food 12" in env.observe().text
    for _ in range(60):
        env.interface("control").step(["w", "left.control", "space"])
    assert env.state_hash() != hashed
    env.restore(saved)
    assert (env.state_hash(), world.hunger.food, world.hunger.exhaustion) == (hashed, 12, 3.9)


def test_it_is_off_by_default():
    env = CraftWorld()
    env.reset(Task("t", "t", "", "craftworld", setup={}, max_ticks=10**6), 2)
    assert env.world.hunger is None
    assert "eat" not in {s.name for s in env.interface("skills").list()}


def test_foods():
    assert len(FOODS) == 39
    assert (FOODS["bread"].points, FOODS["bread"].saturation, FOODS["bread"].ticks) == (5, 6.0, 32)
    assert FOODS["dried_kelp"].ticks == 16
