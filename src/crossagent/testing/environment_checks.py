"""``check_environment``: the contract of a world with its interfaces, tasks and experts, as rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crossagent.plugin import Environment, EnvironmentSpec, TaskSuite
from crossagent.testing.environment_case import EnvironmentCase, environment_case
from crossagent.testing.findings import Finding, run_rules
from crossagent.testing.offer_rules import OFFER_RULES
from crossagent.testing.world_rules import WORLD_RULES


def check_environment(
    env: Environment, suite: TaskSuite, spec: EnvironmentSpec | None = None, *, seed: int = 0, tasks: int = 6
) -> list[Finding]:
    """Check a world and its tasks.

    Args:
        env: The world, built; it is reset many times.
        suite: Its tasks.
        spec: Its declaration; adds the rules about names, interfaces and experts.
        seed: Everything drawn depends on it alone.
        tasks: Number of solvable tasks to play in, taken evenly from the suite.

    Returns:
        What is wrong, empty for a good world. Never raises for a fault of the world.
    """
    case = environment_case(env, suite, spec, seed, tasks)
    return [case] if isinstance(case, Finding) else run_rules(ENVIRONMENT_RULES, case)


ENVIRONMENT_RULES: tuple[Callable[[EnvironmentCase], Iterator[str]], ...] = (*WORLD_RULES, *OFFER_RULES)
"""Every rule, in the order in which findings are listed."""
