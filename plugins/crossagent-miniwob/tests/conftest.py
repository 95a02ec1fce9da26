"""Worlds for the tests that need Chromium; without it those tests are skipped, with the reason."""

import pytest

from crossagent.plugin import Unavailable
from crossagent_miniwob.browser import close_shared
from crossagent_miniwob.env import MiniWob
from crossagent_miniwob.suite import suite


@pytest.fixture(scope="module", autouse=True)
def _no_browser_left():
    yield
    close_shared()


@pytest.fixture
def make_world():
    made = []

    def make(**options):
        try:
            made.append(MiniWob(**options))
        except Unavailable as error:
            pytest.skip(str(error))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def task():
    return lambda page: suite().get(f"miniwob:{page}")
