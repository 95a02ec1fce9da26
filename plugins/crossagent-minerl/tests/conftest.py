"""MineRL with a stand-in for the game, under this interpreter; and the installed MineRL, for tests that need it."""

import sys
from pathlib import Path

import pytest

from crossagent_minerl.env import HOME, MineRL

STAND_IN = Path(__file__).with_name("stand_in_game.py")


class StandIn(MineRL):
    """MineRL's environment in front of a world of our own."""

    def __init__(self, options=None, observation="both", **more):
        self._open(Path(sys.executable), STAND_IN, observation, 6, 300, 60.0)
        self._options |= options or {}
        for name, value in more.items():
            setattr(self, f"_{name}", value)


@pytest.fixture
def make_world():
    made = []

    def make(options=None, **more):
        made.append(StandIn(options, **more))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture(scope="session")
def installed():
    """The interpreter that has MineRL; skipped where there is none."""
    if problem := HOME.missing("minerl"):
        pytest.skip(problem)
    return HOME.python
