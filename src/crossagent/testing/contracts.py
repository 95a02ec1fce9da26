"""One-line contract suites for pytest: each rule a test of its own, its message the whole report.

    from crossagent.testing import ActionSpaceContract

    class TestMySpace(ActionSpaceContract):
        space = MySpace

Needs no plugin and no fixture; ``crossagent check NAME`` runs the same rules on every installed environment that fits.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from crossagent.plugin import ActionSpace, Environment, EnvironmentSpec, Sampler, TaskSuite, Unavailable
from crossagent.registry.plugin_set import PluginSet, load_plugins
from crossagent.testing.checks.environment import ENVIRONMENT_RULES
from crossagent.testing.checks.environment_case import EnvironmentCase, environment_case
from crossagent.testing.checks.findings import Finding, Rule, run_rules
from crossagent.testing.checks.sampler import SAMPLER_RULES, Logits, SamplerCase, sampler_case
from crossagent.testing.checks.space import SPACE_RULES
from crossagent.testing.checks.space_case import SpaceCase, some_tasks
from crossagent.testing.toy import ToyWorld
from crossagent.testing.toy_tasks import ToySuite


class ContractBroken(AssertionError):
    """A rule is broken; the message says what was found, what was expected and how to fix it."""

    __crossagent_message_only__ = True
    """Tells :mod:`crossagent.pytest_plugin` to show the message alone."""


def _tests(rules: Iterable[Rule[Any]]) -> Callable[[type], type]:
    """Give a class one test method per rule."""

    def add(cls: type) -> type:
        for rule in rules:
            setattr(cls, f"test_{rule.__name__}", _test(rule))
        return cls

    return add


def _test(rule: Rule[Any]) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        __tracebackhide__ = True
        try:
            findings = run_rules([rule], self._case())
        except Unavailable as error:
            raise unittest.SkipTest(str(error)) from error
        report(findings)

    test.__name__, test.__doc__ = f"test_{rule.__name__}", rule.__doc__
    return test


def report(findings: Sequence[Finding]) -> None:
    """Raise :class:`ContractBroken` with all findings, if there are any."""
    __tracebackhide__ = True
    if findings:
        raise ContractBroken("\n".join(str(finding) for finding in findings))


class _Contract:
    """Builds what its rules look at once, at the first test."""

    _built: ClassVar[Any] = None

    @classmethod
    def _build(cls) -> Any:
        raise NotImplementedError

    @classmethod
    def _case(cls) -> Any:
        if "_built" not in vars(cls):
            cls._built = cls._build()
        if isinstance(cls._built, Finding):
            report([cls._built])
        return cls._built


@_tests(SPACE_RULES)
class ActionSpaceContract(_Contract):
    """Every rule of an action space, on one environment. Derive ``class TestX`` from it and set ``space``."""

    space: ClassVar[Any]
    """The space: its class, or an object."""
    environment: ClassVar[Any] = ToyWorld
    """The environment: a class (called without arguments), an :class:`EnvironmentSpec`, or the name of an installed one."""
    suite: ClassVar[Any] = ToySuite
    """The environment's task suite, beside a class."""
    seed: ClassVar[int] = 0
    examples: ClassVar[int] = 60
    """Texts drawn from the space's grammar."""

    @classmethod
    def _build(cls) -> SpaceCase:
        env, suite, _ = _world(cls.environment, cls.suite)
        space: ActionSpace = cls.space() if isinstance(cls.space, type) else cls.space
        return SpaceCase(space, env, some_tasks(suite), cls.seed, cls.examples)


@_tests(ENVIRONMENT_RULES)
class EnvironmentContract(_Contract):
    """Every rule of an environment with its tasks and experts. Derive ``class TestX`` from it, set ``environment``."""

    environment: ClassVar[Any]
    """What the plugin declares, an :class:`EnvironmentSpec`; the name of an installed one; or a class, with ``suite``."""
    suite: ClassVar[Any] = None
    seed: ClassVar[int] = 0
    tasks: ClassVar[int] = 6
    """Number of solvable tasks to play in."""

    @classmethod
    def _build(cls) -> EnvironmentCase | Finding:
        return environment_case(*_world(cls.environment, cls.suite), cls.seed, cls.tasks)


@_tests(SAMPLER_RULES)
class SamplerContract(_Contract):
    """Every rule of a sampler. Derive ``class TestX`` from it and define ``sampler`` and ``eot_id``; ``logits`` if it can be had."""

    eot_id: ClassVar[int]
    """The end-of-turn token."""
    vocabulary: ClassVar[Sequence[int]]
    """Token ids to make prompts of."""
    logits: ClassVar[Logits | None] = None
    """Token ids → logits [vocab] of the next token, by a plain forward pass."""

    @classmethod
    def sampler(cls) -> Sampler:
        """Return the sampler under test."""
        raise NotImplementedError(f"{cls.__name__}: define sampler(), which returns the sampler under test")

    @classmethod
    def _build(cls) -> SamplerCase:
        return sampler_case(cls.sampler(), eot_id=cls.eot_id, vocabulary=cls.vocabulary, logits=cls.logits)


def _world(environment: Any, suite: Any) -> tuple[Environment, TaskSuite, EnvironmentSpec | None]:
    """Build what a suite of tests names: from a spec, an installed plugin, or classes."""
    if isinstance(environment, (EnvironmentSpec, str)):
        if isinstance(environment, str):
            plugins = load_plugins()
            environment = plugins.environment(environment)
        else:
            plugins = PluginSet().with_(environment=environment)
        return plugins.build_environment(environment.name), plugins.suite(environment.name), environment
    if suite is None:
        raise ContractBroken(
            f"suite: none is set beside environment = {environment!r}; set it, or name an EnvironmentSpec"
        )
    return environment(), suite(), None
