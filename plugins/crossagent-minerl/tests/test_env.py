"""The environment around the game: contract, interfaces, faults. The game itself is a stand-in here."""

import dataclasses
import time

import numpy as np
import pytest

from crossagent.plugin import BridgeFailed, Event, RawTick, SkillFailed, Unavailable
from crossagent.testing import check_environment
from crossagent_minerl import crossagent_environments
from crossagent_minerl.env import MineRL
from crossagent_minerl.suite import suite

CHOP = suite().get("treechop")
OBTAIN = suite().get("obtain_iron_pickaxe")


def play(env, ticks, keys=(), buttons=(), camera=(0, 0)):
    for _ in range(ticks):
        env.interface("control").step(keys, buttons, camera)


def fell(env, logs):
    play(env, 12, ("w",))
    while env.frame.inventory.get("oak_log", 0) < logs:
        play(env, 1, (), ("left",))


def test_the_contract(make_world):
    (spec,) = crossagent_environments()
    findings = check_environment(make_world(), suite(), spec)
    assert not findings, "\n".join(str(finding) for finding in findings)


def test_keys_become_the_games_actions(make_world):
    env = make_world()
    first = env.reset(CHOP, 3)
    assert first.image.shape == (4, 6, 3)
    assert first.text.startswith("hand none have none at 0 64 ")
    before = env.frame.place
    play(env, 2, ("w",), (), (40, 0))
    assert env.frame.place[2] == before[2] + 0.5
    assert env.frame.place[4] - before[4] == pytest.approx(2 * 42 * 0.15)  # 40 pixels are 42 in steps of 6
    assert env.tick_log == [RawTick(("w",), (), (42, 0))] * 2


def test_what_comes_into_the_inventory_is_an_event_in_our_names(make_world):
    env = make_world()
    env.reset(OBTAIN, 0)
    fell(env, 2)
    assert [e for e in env.events if e.name == "oak_log"] == [Event("obtain", "oak_log")] * 2
    assert "oak_log 2" in env.observe().text


def test_macros_are_skills_that_say_why_they_fail(make_world):
    env = make_world()
    env.reset(OBTAIN, 0)
    skills = env.interface("skills")
    with pytest.raises(SkillFailed, match="craft oak_planks did nothing"):
        skills.call("craft", "oak_planks")
    fell(env, 1)
    skills.call("craft", "oak_planks")
    assert env.frame.inventory == {"oak_planks": 4}
    assert RawTick(("craft.oak_planks",)) in env.tick_log
    with pytest.raises(SkillFailed, match="cannot smelt bread here; can: coal, iron_ingot"):
        skills.call("smelt", "bread")
    env.reset(CHOP, 0)
    with pytest.raises(SkillFailed, match="can: nothing"):
        skills.call("craft", "oak_planks")


def test_an_action_that_the_mission_lacks_is_not_sent(make_world):
    env = make_world()
    env.reset(CHOP, 0)
    play(env, 1, ("w", "e", "no such key"), ("right", "left"))
    assert set(env._sent[-1][1]) == {"forward", "attack"}


def test_goals_by_reward_event_and_single_reward(make_world):
    env = make_world()
    env.reset(dataclasses.replace(CHOP, setup={**CHOP.setup, "goal": {"reward": 2.0}}), 0)
    fell(env, 2)
    assert env.success
    assert env.terminated
    ticks = len(env.tick_log)
    play(env, 3, ("w",))
    assert len(env.tick_log) == ticks  # over
    env.reset(dataclasses.replace(CHOP, setup={**CHOP.setup, "goal": {"reward": 2.0, "once": True}}), 0)
    fell(env, 3)
    assert not env.success
    env.reset(
        dataclasses.replace(OBTAIN, setup={**OBTAIN.setup, "goal": {"event": "obtain", "name": "oak_log", "count": 2}}),
        0,
    )
    fell(env, 1)
    assert not env.success
    fell(env, 2)
    assert env.success


def test_the_end_by_the_game_and_by_the_tick_limit(make_world):
    env = make_world()
    env.reset(CHOP, 0)
    play(env, 300, ("w",))
    assert (env.terminated, env.success) == (True, False)
    env.reset(dataclasses.replace(CHOP, max_ticks=5), 0)
    play(env, 9)
    assert (env.truncated, len(env.tick_log)) == (True, 5)


def test_going_back_plays_the_episode_again(make_world):
    env = make_world()
    env.reset(CHOP, 1)
    play(env, 4, ("w",))
    snapshot, state = env.snapshot(), env.state_hash()
    play(env, 5, ("w",), (), (30, 0))
    after = env.state_hash()
    env.restore(snapshot)
    assert env.state_hash() == state
    play(env, 5, ("w",), (), (30, 0))
    assert env.state_hash() == after


def test_a_game_that_comes_out_differently_costs_the_episode(make_world):
    env = make_world({"drifts": True})
    env.reset(CHOP, 1)
    play(env, 1)
    snapshot = env.snapshot()
    env.restore(snapshot)  # nothing has happened since
    play(env, 1)
    with pytest.raises(BridgeFailed, match="came out differently"):
        env.restore(snapshot)


@pytest.mark.parametrize(
    ("fault", "reason"), [("exit", "it ended"), ("hang", "no answer in 1 s"), ("garbage", "is no frame")]
)
def test_a_game_that_breaks_is_named_and_gone(make_world, fault, reason):
    env = make_world({"on_sneak": fault}, step_seconds=1.0)
    env.reset(CHOP, 0)
    process = env._bridge.process
    began = time.monotonic()
    with pytest.raises(BridgeFailed, match=f"the game of minerl failed: .*{reason}"):
        play(env, 1, ("left.shift",))
    assert time.monotonic() - began < 20
    assert process.poll() is not None
    env.reset(CHOP, 0)  # the next episode has a game of its own
    play(env, 1)


def test_a_game_that_does_not_start_says_so_in_one_line(make_world):
    with pytest.raises(BridgeFailed, match=r"^the game of minerl failed: the engine is not built"):
        make_world({"broken": True}).reset(CHOP, 0)
    with pytest.raises(BridgeFailed, match="reset: no display"):
        make_world({"no_reset": True}).reset(CHOP, 0)


def test_text_alone_asks_for_no_pictures(make_world):
    env = make_world(observation="text")
    assert env.reset(CHOP, 0).image is None
    assert make_world(observation="pixels").reset(CHOP, 0).text == ""
    assert isinstance(make_world().reset(CHOP, 0).image, np.ndarray)


def test_what_is_missing_is_said_before_a_run_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSAGENT_MINERL_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match=r"minerl is not installed in .*; run: crossagent minerl install"):
        MineRL()
