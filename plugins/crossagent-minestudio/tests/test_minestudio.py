"""MineStudio itself, imported under its own interpreter: its actions and items are what ours say."""

import json
import os
import socket
import subprocess
from importlib.resources import files

import pytest

from crossagent_minecraft_data.items import ITEMS
from crossagent_minestudio.env import ACTIONS, ADAPTER

pytestmark = pytest.mark.slow
SERVE = str(files("crossagent_minerl") / "engine" / "serve.py")


@pytest.fixture(scope="module")
def ask(installed, tmp_path_factory):
    mine, theirs = socket.socketpair()
    process = subprocess.Popen(
        [str(installed), SERVE, str(theirs.fileno()), str(ADAPTER), "{}"],
        pass_fds=(theirs.fileno(),),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MINESTUDIO_DIR": str(tmp_path_factory.mktemp("engine"))},
    )
    theirs.close()
    with mine, mine.makefile("rw") as pipe:
        said = json.loads(pipe.readline())
        assert said.get("hello") == "crossagent-game", said

        def call(**command):
            pipe.write(json.dumps({"id": 1, **command}) + "\n")
            pipe.flush()
            return json.loads(pipe.readline())

        yield call
    process.kill()
    process.wait()


def test_the_actions_are_the_simulators(ask):
    assert set(ask(cmd="about")["actions"]) - ACTIONS == {"chat", "mobs", "pickItem", "voxels"}
    assert set(ask(cmd="about")["actions"]) >= ACTIONS


def test_the_observations_that_a_frame_is_made_of_exist(ask):
    seen = set(ask(cmd="about")["observations"])
    assert {"pov", "inventory", "equipped_items", "craft_item", "mine_block", "kill_entity"} <= seen


def test_the_items_are_ours(ask):
    theirs = set(ask(cmd="about")["items"])
    assert len(theirs) > 900
    assert theirs - set(ITEMS) <= {"air", "none", "other"}
    assert set(ITEMS) - theirs <= {"air"}


def test_a_reset_without_the_engine_says_so_in_one_line(ask):
    setup = {"rewards": [], "inventory": [], "commands": [], "biome": "plains"}
    error = ask(cmd="reset", task="x", seed=0, setup=setup)["error"]
    assert error.startswith("MineStudio's engine is not in")
    assert "crossagent minestudio install" in error
    assert "\n" not in error
