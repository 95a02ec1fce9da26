"""What plugin authors test with, and the toy world that our own tests run on. Loads no torch."""

from crossagent.testing.checks.environment import check_environment
from crossagent.testing.checks.findings import Finding
from crossagent.testing.checks.plugin import check_plugin
from crossagent.testing.checks.sampler import check_sampler
from crossagent.testing.checks.space import check_action_space
from crossagent.testing.contracts import ActionSpaceContract, ContractBroken, EnvironmentContract, SamplerContract
from crossagent.testing.faulty import FaultyEnv, faulty_environment
from crossagent.testing.generic import GenericSpace
from crossagent.testing.grammars import GrammarSampler
from crossagent.testing.samplers import ScriptedSampler
from crossagent.testing.toy import ToyWorld, toy_environment
from crossagent.testing.toy_tasks import ToySuite

__all__ = [
    "ActionSpaceContract",
    "ContractBroken",
    "EnvironmentContract",
    "FaultyEnv",
    "Finding",
    "GenericSpace",
    "GrammarSampler",
    "SamplerContract",
    "ScriptedSampler",
    "ToySuite",
    "ToyWorld",
    "check_action_space",
    "check_environment",
    "check_plugin",
    "check_sampler",
    "faulty_environment",
    "toy_environment",
]
