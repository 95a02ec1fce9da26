"""MineRL itself, imported under its own interpreter: its missions, actions and items are what ours say."""

import json
import socket
import subprocess

import pytest

from crossagent_minecraft_data.items import ITEMS as OURS
from crossagent_minerl.env import ADAPTER
from crossagent_minerl.game import _SERVE
from crossagent_minerl.missions import ITEMS, MISSIONS
from crossagent_minerl.suite import suite

pytestmark = pytest.mark.slow
_NOT_ITEMS = {"none", "other", "air"}


@pytest.fixture(scope="module")
def ask(installed):
    mine, theirs = socket.socketpair()
    words = [str(installed), str(_SERVE), str(theirs.fileno()), str(ADAPTER), "{}"]
    process = subprocess.Popen(words, pass_fds=(theirs.fileno(),), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    theirs.close()
    with mine, mine.makefile("rw") as pipe:
        assert json.loads(pipe.readline())["hello"] == "crossagent-game"

        def call(**command):
            pipe.write(json.dumps({"id": 1, **command}) + "\n")
            pipe.flush()
            return json.loads(pipe.readline())

        yield call
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def tasks(ask):
    return ask(cmd="about")["tasks"]


def ours(names):
    return {ITEMS.get(name, name) for name in names} - _NOT_ITEMS


@pytest.mark.parametrize("name", sorted(MISSIONS))
def test_a_mission_is_minerls(tasks, name):
    said, mission = tasks[f"MineRL{name}-v0"], MISSIONS[name]
    assert set(said["actions"]) == mission.actions
    assert said["max_ticks"] == mission.max_ticks
    assert {a: ours(c) for a, c in said["choices"].items()} == {a: set(c) for a, c in mission.choices.items()}


def test_every_mission_is_listed_but_the_debugging_ones(tasks):
    listed = {name.removeprefix("MineRL").removesuffix("-v0") for name in tasks}
    assert {n for n in listed if "Test" not in n and "HighRes" not in n} == set(MISSIONS)


def test_every_item_is_one_of_minecraft_1_16(tasks):
    found = set().union(
        *(ours(said["items"]) | set().union(*map(ours, said["choices"].values())) for said in tasks.values())
    )
    assert len(found) > 40
    assert found <= set(OURS)


def test_a_reset_without_the_engine_says_so_in_one_line(ask):
    error = ask(cmd="reset", task="MineRLTreechop-v0", seed=0, setup={}).get("error")
    if error is None:
        pytest.skip("the engine is built here")
    assert "engine is not built" in error
    assert "crossagent minerl install" in error
    assert "\n" not in error


def test_the_suite_names_missions():
    assert {task.setup["mission"] for task in suite().tasks()} == set(MISSIONS)
    assert all(task.solvable != bool(task.reason) for task in suite().tasks())
