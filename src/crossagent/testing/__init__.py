"""What plugin authors test with, and the toy world that our own tests run on. Loads no torch."""

from crossagent.testing.contracts import ActionSpaceContract, ContractBroken, EnvironmentContract, SamplerContract
from crossagent.testing.environment_checks import check_environment
from crossagent.testing.faulty import FaultyEnv, faulty_environment
from crossagent.testing.findings import Finding
from crossagent.testing.generic import GenericSpace
from crossagent.testing.grammars import GrammarSampler
from crossagent.testing.plugin_checks import check_plugin
from crossagent.testing.sampler_checks import check_sampler
from crossagent.testing.samplers import ScriptedSampler
from crossagent.testing.space_checks import check_action_space
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
