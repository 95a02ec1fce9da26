"""The environments that the tests of ``rollout`` use too."""

from ..rollout.conftest import faulty, pool, toy

__all__ = ["faulty", "pool", "toy"]
