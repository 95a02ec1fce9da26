"""Worlds for the tests that need Node and the bridge's packages; without them those tests are skipped, with the reason."""

import pytest

from crossagent_minecraft.env import Minecraft
from crossagent_minecraft.node import missing
from crossagent_minecraft.pool import pool


@pytest.fixture
def make_world():
    if problem := missing():
        pytest.skip(problem)
    made = []

    def make(**options):
        made.append(Minecraft(**options))
        return made[-1]

    yield make
    for env in made:
        env.close()
    for width in {env._width for env in made}:
        pool(width // 16).close()
