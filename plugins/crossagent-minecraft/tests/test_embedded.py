"""The embedded world: contract, determinism, motion, lowering, faults."""

import hashlib
import math
import os
import random
import signal
import time

import pytest

from crossagent.plugin import BridgeFailed, RawTick, lower
from crossagent.testing import check_environment
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlSpace
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.experts.control import ControlExpert
from crossagent_gui.space import GuiSpace
from crossagent_minecraft import crossagent_environments
from crossagent_minecraft.pool import pool
from crossagent_minecraft.suite import suite

pytestmark = pytest.mark.slow
KEYS = ("w", "a", "s", "d", "space", "left.shift", "left.control")


def task(name):
    return suite().get(name)


def script(seed, ticks):
    """A reproducible sequence of held keys and mouse movements."""
    rng = random.Random(seed)
    held, out = (), []
    for _ in range(ticks):
        if rng.random() < 0.25:
            held = tuple(sorted(k for k in KEYS if rng.random() < (0.6 if k == "w" else 0.2)))
        out.append(RawTick(held, (), (6 * rng.randint(-10, 10), 6 * rng.randint(-3, 3))))
    return out


def test_the_contract_holds(make_world):
    (spec,) = crossagent_environments()
    assert check_environment(make_world(), suite(), spec) == []


def test_one_seed_gives_one_trajectory_six_times(make_world):
    seen = set()
    for _ in range(6):
        env = make_world(skills="full")
        env.reset(task("mine_block:oak_log"), 3)
        digest = hashlib.sha256(env.state_hash().encode())
        for raw in script(7, 120):
            env.tick(RawTick(raw.keys, ("left",), raw.camera))
            digest.update(env.state_hash().encode() + env.observe().text.encode())
        seen.add(digest.hexdigest())
        env.close()
        pool(3).close()  # the next one is of a process of its own
    assert len(seen) == 1


def test_a_renewed_process_is_as_a_fresh_one(make_world):
    env = make_world()
    hashes = []
    for _ in range(4):
        env.reset(task("craft_item:oak_stairs"), 1)
        for raw in script(2, 60):
            env.tick(raw)
        hashes.append(env.state_hash())
    assert env._link.lives > 1
    assert len(set(hashes)) == 1


@pytest.mark.parametrize("seed", range(6))
def test_keys_move_the_player_as_in_craftworld(make_world, seed):
    name = "mine_block:oak_log"
    here, there = make_world(), CraftWorld()
    there.reset(there_task := craftworld_task(name), seed)
    here.reset(task(name), seed)
    assert there_task.setup == task(name).setup
    for n, raw in enumerate(script(seed, 40)):
        here.tick(raw)
        there.tick(raw)
        a, b = here.world.body, there.world.body
        assert math.dist((a.x, a.y, a.z), (b.x, b.y, b.z)) < 0.01, f"after {n + 1} ticks"
    assert here.world.yaw == there.world.yaw


def craftworld_task(name):
    from crossagent_craftworld.suite import suite as craftworld_suite

    return craftworld_suite().get(name)


def test_lowering_one_tick_needs_no_second_server(make_world):
    env = make_world(skills="full")
    env.reset(task("mine_block:oak_log"), 0)
    link, before = env._link, env.state_hash()
    for space, text in (
        (ApiSpace(), "Api: mine(oak_log)"),
        (
            ControlSpace(),
            ControlSpace().tokenizer.encode(ControlSpace().from_calls(ControlExpert().propose(env), env)[0]),
        ),
        (GuiSpace(), "Gui: click 100 100"),
    ):
        action = space.tokenizer.decode(text)
        if hasattr(action, "reason"):
            continue
        assert len(lower(space, action, env, 1)) <= 1
    assert env._link is link
    assert env.state_hash() == before


def test_going_back_further_replays_on_a_fresh_server(make_world):
    env = make_world()
    env.reset(task("mine_block:oak_log"), 0)
    for raw in script(1, 20):
        env.tick(raw)
    snapshot, before = env.snapshot(), env.state_hash()
    for raw in script(2, 20):
        env.tick(raw)
    after = env.state_hash()
    for _ in range(2):
        env.restore(snapshot)
        assert env.state_hash() == before
        for raw in script(2, 20):
            env.tick(raw)
        assert env.state_hash() == after


def test_nothing_is_picked_up_twice_and_a_broken_log_is_one_log(make_world):
    env = make_world(skills="full")
    env.reset(task("mine_block:oak_log"), 0)
    env._task = task("mine_block:stone")  # so that the episode goes on after the log
    env.interface("skills").call("mine", "oak_log")
    picked = [e for e in env.events if e.kind == "pickup"]
    assert [(e.name, e.count) for e in picked] == [("oak_log", 1)]
    assert env.world.inventory.totals()["oak_log"] == 1


def test_a_killed_bridge_costs_its_episode_and_the_pool_heals(make_world):
    env = make_world()
    env.reset(task("mine_block:oak_log"), 0)
    env.tick(RawTick(("w",)))
    os.kill(env._link.process.pid, signal.SIGKILL)
    with pytest.raises(BridgeFailed, match="the Minecraft bridge failed"):
        env.tick(RawTick(("w",)))
    for link in pool(3)._stock:  # and every spare server
        os.kill(link.process.pid, signal.SIGKILL)
    time.sleep(0.2)
    env.reset(task("mine_block:oak_log"), 0)
    env.tick(RawTick(("w",)))
    assert env.world.body.vz or env.world.body.vx


@pytest.mark.parametrize("garbage", [b"}{\n", b"[]\n", b'{"id": 99, "view": {}}\n', b"\xff\xfe\n"])
def test_garbage_from_the_bridge_costs_its_episode(make_world, garbage):
    env = make_world()
    env.reset(task("mine_block:oak_log"), 0)
    env._link._rest = garbage
    with pytest.raises(BridgeFailed):
        env.tick(RawTick())
    env.reset(task("mine_block:oak_log"), 0)


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff}{\n", b"[1, 2\n", b'{"cmd": "constructor"}\n', b'{"cmd": "toString"}\n']
)
def test_garbage_to_the_bridge_is_answered_not_obeyed(make_world, garbage):
    env = make_world()
    env.reset(task("mine_block:oak_log"), 0)
    env._link._socket.sendall(garbage)
    answer = env._link._line(5.0)
    assert "cannot read" in answer["error"]
    env.tick(RawTick())


def test_a_hung_bridge_is_given_up(make_world):
    env = make_world()
    env.reset(task("mine_block:oak_log"), 0)
    os.kill(env._link.process.pid, signal.SIGSTOP)
    with pytest.raises(BridgeFailed, match="no answer in 1 s"):
        env._link.call("tick", timeout=1.0, keys=[], look=[0, 0], ops=[])
    assert not env._link.alive
