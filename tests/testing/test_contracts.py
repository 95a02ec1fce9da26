"""The one-line suites and the pytest plugin, as a third party's tests use them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from crossagent.plugin import Call
from crossagent.testing import (
    ActionSpaceContract,
    EnvironmentContract,
    GenericSpace,
    ToySuite,
    ToyWorld,
    check_action_space,
    toy_environment,
)
from crossagent.testing.checks.environment import ENVIRONMENT_RULES
from crossagent.testing.checks.space import SPACE_RULES
from crossagent_api.space import ApiSpace

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
WALK = {
    "east": [Call("control", "step", (("d",), (), (0, 0)))] * 2,
    "west": [Call("control", "step", (("a",), (), (0, 0)))] * 2,
    "take": [Call("skills", "call", ("take", "apple"))],
}


class TestGenericSpace(ActionSpaceContract):
    space = GenericSpace("walk", WALK)


class TestASpaceByItsClass(ActionSpaceContract):
    space = ApiSpace
    examples = 30


class TestTheToyWorldByItsSpec(EnvironmentContract):
    environment = toy_environment()


class TestTheToyWorldByItsClass(EnvironmentContract):
    environment, suite = ToyWorld, ToySuite


def test_there_is_one_test_per_rule() -> None:
    for contract, rules in ((ActionSpaceContract, SPACE_RULES), (EnvironmentContract, ENVIRONMENT_RULES)):
        tests = {name for name in vars(contract) if name.startswith("test_")}
        assert tests == {f"test_{rule.__name__}" for rule in rules}


def test_a_generic_space_reads_its_calls_back() -> None:
    space = GenericSpace("walk", WALK)
    calls = [*WALK["west"], Call("pointer", "press", ("e",)), *WALK["take"], WALK["east"][0]]
    assert [action.payload for action in space.from_calls(calls, ToyWorld())] == ["west", "take"]
    assert space.requires == ("control", "skills")
    assert check_action_space(space, ToyWorld(), ToySuite().get("get:apple")) == []


THIRD_PARTY = """
from crossagent.plugin import Call
from crossagent.testing import ActionSpaceContract, EnvironmentContract, GenericSpace


class Greedy(GenericSpace):
    def cost(self, action, outcome):
        return -1.0


class TestGreedy(ActionSpaceContract):
    space = Greedy("walk", {"take": [Call("skills", "call", ("take", "apple"))]})


class TestCraftWorld(EnvironmentContract):
    environment, tasks = "craftworld", 1


def test_the_fixtures(crossagent_toy, crossagent_plugins):
    assert crossagent_toy.observe().text and "api" in crossagent_plugins.spaces
"""


def test_a_broken_rule_is_one_failed_test_with_its_message_alone(python: Run, tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(THIRD_PARTY)
    plugin = () if _registered() else ("-p", "crossagent.pytest_plugin")
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, "test_theirs.py")
    assert done.returncode == 1, done.stdout
    assert f"1 failed, {len(SPACE_RULES) + len(ENVIRONMENT_RULES)} passed" in done.stdout
    assert "FAILED test_theirs.py::TestGreedy::test_cost" in done.stdout
    (said,) = re.findall(r"__ TestGreedy.test_cost __+\n(.*?)\n=", done.stdout, re.DOTALL)
    assert said.splitlines() == ["cost: the cost of 'Walk: take' is -1.0; return a finite number ≥ 0"] * len(
        said.splitlines()
    )


def _registered() -> bool:
    from importlib.metadata import entry_points

    return bool(entry_points(group="pytest11", name="crossagent.pytest_plugin"))


def test_pytest_finds_the_plugin_and_it_loads_nothing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    code = (
        f"import sys, pytest; before = set(sys.modules); import {module};"
        "print(sorted(m for m in set(sys.modules) - before if m not in ('crossagent', 'crossagent.moved', 'typing')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src")}
    )
    assert done.stdout.strip() == f"['{module}']", done.stderr
