"""The tiny models that the tests of ``policy`` use too."""

from ..policy.conftest import OBSERVATION, RESPONSES, TEXTS, TINY, any_policy, scratch, tiny_policy

__all__ = ["OBSERVATION", "RESPONSES", "TEXTS", "TINY", "any_policy", "scratch", "tiny_policy"]
