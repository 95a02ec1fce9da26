"""CraftWorld keeps the contract: the checks every environment and space must pass."""

from crossagent.testing import check_environment
from crossagent_craftworld import crossagent_environments
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite


def test_check_environment():
    (spec,) = crossagent_environments()
    findings = check_environment(CraftWorld(), suite(), spec)
    assert not findings, "\n".join(str(finding) for finding in findings)
