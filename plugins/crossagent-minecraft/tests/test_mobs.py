"""Mobs of the embedded server: how they walk, hunt, strike, suffer and die."""

import math

import pytest

from crossagent.plugin import RawTick
from crossagent_craftworld.experts.control import ControlExpert
from crossagent_craftworld.experts.skills import SkillsExpert
from crossagent_minecraft.facts import WALKERS, collect
from crossagent_minecraft.suite import suite
from crossagent_minecraft_data.entities import MOBS, attack_damage
from crossagent_minecraft_data.items import ITEMS
from crossagent_minecraft_data.loot import mob_drops

KILLS = [task for task in suite().tasks() if task.solvable and task.setup.get("mobs")]


def test_tasks_with_mobs_that_walk_are_solvable_the_others_say_which_does_not():
    assert len(KILLS) >= 30
    assert {kind for task in KILLS for kind, _ in task.setup["mobs"]} <= WALKERS
    said = [t.reason for t in suite().tasks() if t.category == "kill_entity" and not t.solvable]
    assert any(reason.endswith("; ghast does not") for reason in said)


def test_loot_as_tables_is_that_of_the_data(monkeypatch):
    class Most:
        """Draws what makes a table give most."""

        def random(self):
            return 0.0

        def randint(self, least, most):
            return most

        def choice(self, rows):
            return rows[0]

    for kind, row in collect()["mobs"].items():
        given = {c.get("item") or c["one_of"][0] for pool in row["loot"] for c in pool[:1]}
        assert {item for item, _ in mob_drops(kind, Most())} == given, kind
        assert given <= set(ITEMS)
        assert row["health"] == MOBS[kind].health


def play(env, expert, turns=200):
    while not env.over and turns:
        turns -= 1
        for call in expert.propose(env):
            getattr(env.interface(call.interface), call.method)(*call.args)
            if env.over:
                break
    return env.success


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cow", "zombie", "spider", "villager", "rabbit", "piglin", "iron_golem"])
def test_skills_kill(make_world, name):
    env = make_world(skills="full")
    env.reset(suite().get(f"kill_entity:{name}"), 0)
    assert [m.kind for m in env.world.mobs] == [name]
    assert play(env, SkillsExpert())
    assert ("kill_entity", name) in [(e.kind, e.name) for e in env.events]
    assert not env.world.mobs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sheep", "husk"])
def test_keys_kill_and_every_run_is_the_same(make_world, name):
    env, ends = make_world(), set()
    for _ in range(2):
        env.reset(suite().get(f"kill_entity:{name}"), 1)
        assert play(env, ControlExpert())
        ends.add((env.state_hash(), len(env.tick_log)))
    assert len(ends) == 1


@pytest.mark.slow
def test_going_back_in_time_brings_mobs_back(make_world):
    env = make_world()
    env.reset(suite().get("kill_entity:zombie"), 2)
    for _ in range(15):
        env.tick(RawTick())
    snapshot, before, at = env.snapshot(), env.state_hash(), [m.body.save() for m in env.world.mobs]
    for _ in range(15):
        env.tick(RawTick())
    assert [m.body.save() for m in env.world.mobs] != at  # it comes nearer
    env.restore(snapshot)
    assert env.state_hash() == before
    assert [m.body.save() for m in env.world.mobs] == at


def struck(env):
    """Return the server's health of the first mob."""
    return env._link.call("tick", keys=[], look=[env.world.yaw, env.world.pitch], ops=[])["hidden"][-1][-1][0]["health"]


@pytest.mark.slow
def test_a_blow_costs_what_the_data_says_and_a_mob_that_hunts_strikes_back(make_world):
    env = make_world()
    env.reset(suite().get("kill_entity:zombie"), 0)
    zombie = env.world.mobs[0]
    for _ in range(200):
        if math.dist((zombie.body.x, zombie.body.z), (env.world.body.x, env.world.body.z)) < 1.2:
            break
        env.tick(RawTick())
    held = env.world.inventory.held()[0]
    armor = MOBS["zombie"].armor
    before = struck(env)
    env.world.inventory.ops = []
    env._link.call("tick", keys=[], look=[0, 0], ops=[["attack", zombie.ident]])
    after = struck(env)
    full = attack_damage(held, 100)
    assert before - after == pytest.approx(full * (1 - min(20, max(armor / 5, armor - full / 2)) / 25))
    for _ in range(60):
        env.tick(RawTick())
        if env.world.health < 20:
            break
    assert env.world.health < 20


@pytest.mark.slow
def test_a_mob_walks_as_fast_as_its_speed_says(make_world):
    env = make_world()
    env.reset(suite().get("kill_entity:zombie"), 4)
    mob, steps = env.world.mobs[0], []
    for _ in range(60):
        before = (mob.body.x, mob.body.z)
        env.tick(RawTick())
        mob = env.world.mobs[0]
        steps.append(math.dist(before, (mob.body.x, mob.body.z)))
    speed = MOBS["zombie"].speed * MOBS["zombie"].pace
    assert max(steps[10:]) == pytest.approx(2.1586 * speed**2, rel=0.02)
