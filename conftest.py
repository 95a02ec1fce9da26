"""Of all tests: hypothesis draws the same examples everywhere, and a slow machine is no failure."""

from hypothesis import settings

settings.register_profile("crossagent", deadline=None, derandomize=True, database=None)
settings.load_profile("crossagent")
