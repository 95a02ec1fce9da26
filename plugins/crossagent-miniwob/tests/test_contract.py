"""The world keeps the contract, each rule a test of its own; skipped without Chromium."""

from crossagent.testing import EnvironmentContract
from crossagent_miniwob import crossagent_environments


class TestMiniWob(EnvironmentContract):
    environment = crossagent_environments()[0]
    tasks = 3
