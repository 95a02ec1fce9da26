"""MineStudio with a stand-in for the game, under this interpreter; and the installed one, for tests that need it."""

import sys
from pathlib import Path

import pytest

from crossagent_minestudio.env import HOME, MineStudio

STAND_IN = Path(__file__).with_name("stand_in_game.py")


class StandIn(MineStudio):
    """MineStudio's environment in front of a world of our own."""

    def __init__(self, observation="both", image_size=(32, 16), quantum=2):
        self._open(Path(sys.executable), STAND_IN, observation, image_size, quantum, 300, 60.0)


@pytest.fixture
def make_world():
    made = []

    def make(**options):
        made.append(StandIn(**options))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture(scope="session")
def installed():
    """The interpreter that has MineStudio; skipped where there is none."""
    if problem := HOME.missing("minestudio"):
        pytest.skip(problem)
    return HOME.python
