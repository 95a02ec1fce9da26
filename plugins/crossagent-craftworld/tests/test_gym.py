"""CraftWorld through Gymnasium: its own checker, the action dict, vectors, snapshots."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import crossagent_craftworld  # noqa: F401 - registers the environment
from crossagent_minecraft_data import action_dict

gymnasium = pytest.importorskip("gymnasium", reason="pip install 'crossagent-craftworld[gymnasium]'")
from gymnasium.utils.env_checker import check_env  # noqa: E402

SMALL = {"image_size": (64, 64)}


@pytest.mark.parametrize("observation", ["pixels", "text", "both"])
def test_gymnasiums_checker_has_nothing_to_say(observation):
    env = gymnasium.make(
        "CraftWorld-v0", task="mine_block:oak_log", observation=observation, render_mode="rgb_array", **SMALL
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*symmetric and normalized")  # MineRL's camera is in degrees
        check_env(env.unwrapped)
    assert env.reset(seed=3)[0] in env.observation_space
    env.close()


def test_the_action_dict_is_minerls():
    env = gymnasium.make("CraftWorld-v0", observation="text").unwrapped
    env.reset(seed=1)
    world = env.world.world
    yaw, pitch = world.yaw, world.pitch
    env.step({"camera": np.array([9.0, -45.0])})
    assert ((world.yaw - yaw + 1200) % 2400 - 1200) * 0.15 == pytest.approx(-45)
    assert (world.pitch - pitch) * 0.15 == pytest.approx(9)
    for name, key in action_dict.KEYS.items():
        assert action_dict.decode({name: 1}) == ((key,), (), (0, 0))
    assert action_dict.decode({"attack": 1, "use": np.int64(1)})[1] == ("left", "right")
    x, z = world.body.x, world.body.z
    for _ in range(10):
        env.step({"forward": 1})
    assert np.hypot(world.body.x - x, world.body.z - z) > 1
    env.step({"inventory": 1})
    assert world.inventory.window is not None
    env.step({"ESC": 1})
    assert world.inventory.window is None
    with pytest.raises(KeyError, match="expected camera or one of ESC"):
        env.step({"forwards": 1})
    with pytest.raises(ValueError, match="two finite numbers"):
        env.step({"camera": [float("nan"), 0]})


def test_an_action_of_the_space_never_raises_and_its_names_are_the_published_ones():
    env = gymnasium.make("CraftWorld-v0", observation="both", **SMALL)
    names = {"ESC", "attack", "back", "camera", "drop", "forward", "inventory", "jump", "left", "pickItem", "right", "sneak",
             "sprint", "swapHands", "use", *(f"hotbar.{n}" for n in range(1, 10))}  # fmt: skip
    assert set(env.action_space.spaces) == names
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(150):
        seen, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert seen in env.observation_space
        assert 0.0 <= reward <= 1.0
        if terminated or truncated:
            env.reset()


def test_success_ends_the_episode_with_its_reward():
    env = gymnasium.make("CraftWorld-v0", task="mine_block:oak_log", observation="text").unwrapped
    env.reset(seed=0)
    env.world.world.emit("mine_block", "oak_log")
    *_, terminated, truncated, info = env.step({})
    assert terminated
    assert not truncated
    assert info["success"]
    assert env.world.total_reward == 1.0


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vectors(mode):
    envs = gymnasium.make_vec(
        "CraftWorld-v0", num_envs=2, vectorization_mode=mode, task="mine_block:oak_log", observation="both", **SMALL
    )
    try:
        first, _ = envs.reset(seed=5)
        assert first["pov"].shape == (2, 64, 64, 3)
        assert len(first["text"]) == 2
        assert (first["pov"][0] != first["pov"][1]).any()
        envs.action_space.seed(1)
        for _ in range(4):
            seen, rewards, *_ = envs.step(envs.action_space.sample())
        assert seen["pov"].shape == (2, 64, 64, 3)
        assert rewards.shape == (2,)
        again, _ = envs.reset(seed=5)
        assert (again["pov"] == first["pov"]).all()
    finally:
        envs.close()


def test_a_snapshot_is_exact_pixels_and_generator_included():
    env = gymnasium.make("CraftWorld-v0", task="kill_entity:cow", observation="both", **SMALL).unwrapped
    env.reset(seed=9)
    env.action_space.seed(2)
    actions = [env.action_space.sample() for _ in range(60)]
    for action in actions[:20]:
        env.step(action)
    saved = env.snapshot()

    def go_on():
        out = [env.step(action)[0] for action in actions[20:]]
        return env.state_hash(), out[-1]["text"], out[-1]["pov"].tobytes(), int(env.np_random.integers(2**31))

    first = go_on()
    env.restore(saved)
    assert go_on() == first
    env.restore(saved)
    assert go_on() == first


def test_a_reset_may_name_another_task():
    env = gymnasium.make("CraftWorld-v0", observation="text").unwrapped
    _, info = env.reset(seed=0, options={"task": "kill_entity:zombie"})
    assert info["task"] == "kill_entity:zombie"
    with pytest.raises(ValueError, match="crossagent tasks craftworld lists them"):
        env.reset(options={"task": "kill_entity:shep"})
    with pytest.warns(UserWarning, match="render_mode"), pytest.raises(ValueError, match="render_mode"):
        gymnasium.make("CraftWorld-v0", render_mode="ansi")


def test_without_gymnasium_there_is_one_message():
    code = """
import sys
sys.modules["gymnasium"] = None
import crossagent_craftworld
try:
    import crossagent_craftworld.gym
except ImportError as error:
    print(error)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert out.stdout == "Gymnasium is not installed. Fix: pip install 'crossagent-craftworld[gymnasium]'\n"


def test_registration_costs_no_numba_and_no_torch():
    code = """
import json, sys
import crossagent_craftworld, gymnasium
env = gymnasium.make("CraftWorld-v0", observation="text")
env.reset(seed=0)
print(json.dumps([m for m in ("numba", "torch") if m in sys.modules]))
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert json.loads(out.stdout) == []
