"""What plugin authors test with, and the toy world that our own tests run on. Loads no torch."""

from crossagent.testing.faulty import FaultyEnv, faulty_environment
from crossagent.testing.samplers import ScriptedSampler
from crossagent.testing.toy import ToyWorld, toy_environment
from crossagent.testing.toy_tasks import ToySuite

__all__ = ["FaultyEnv", "ScriptedSampler", "ToySuite", "ToyWorld", "faulty_environment", "toy_environment"]
