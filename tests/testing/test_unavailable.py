"""A world that cannot start on this machine is no fault of a space: it is left out, and named with the fix."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossagent.plugin import EnvironmentSpec, Unavailable
from crossagent.registry.plugin_set import PluginSet, load_plugins
from crossagent.testing import ToyWorld, check_plugin, toy_environment

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FIX = "there is no `abacus` on the PATH; install it"


class NeverBuilt(ToyWorld):
    """Needs a program that nobody has."""

    def __init__(self) -> None:
        raise Unavailable(FIX)


class NeverStarted(ToyWorld):
    """Finds out only when an episode begins."""

    def reset(self, *_: Any) -> Any:
        raise Unavailable(FIX)


def world(factory: type) -> EnvironmentSpec:
    return replace(toy_environment(), name="far", factory=factory)  # type: ignore[arg-type]


@pytest.mark.parametrize("factory", [NeverBuilt, NeverStarted])
def test_a_space_is_checked_on_the_others(factory: type) -> None:
    plugins = PluginSet(spaces=load_plugins().spaces).with_(environment=world(factory))
    left_out: list[str] = []
    assert check_plugin(plugins, "gui", left_out=left_out) == []
    (reason,) = left_out
    assert reason.endswith(FIX)
    assert check_plugin(plugins, "gui") == []
    for name, environment in (("gui", "far"), ("far", None)):
        with pytest.raises(Unavailable, match="no `abacus`"):
            check_plugin(plugins, name, environment)


PLUGIN = """
from dataclasses import replace
from crossagent.plugin import Unavailable, hookimpl
from crossagent.testing import EnvironmentContract, ToyWorld, toy_environment

class Far(ToyWorld):
    def __init__(self):
        raise Unavailable("there is no `abacus` on the PATH; install it")

@hookimpl
def crossagent_environments():
    return [replace(toy_environment(), name="far", factory="far_plugin:Far")]
"""


def test_the_command_says_so_and_a_run_ends_in_one_message(
    crossagent: Run,
    fake_plugin: Callable[[Path, str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("CROSSAGENT_CHROMIUM", "CROSSAGENT_MINECRAFT_HOME"):  # worlds that take minutes where they are
        monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    path = [fake_plugin(tmp_path / "site", "far", PLUGIN)]
    said = f"environment 'far' of crossagent-far cannot start here: {FIX}"
    done = crossagent("check", "control", path=path)
    assert (done.returncode, done.stdout) == (0, "control: passed\n"), done.stderr
    assert f"not checked there: {said}\n" in done.stderr
    assert {"checking on craftworld …", "checking on far …"} <= set(done.stderr.splitlines())
    asked = crossagent("check", "far", path=path)
    assert (asked.returncode, asked.stderr) == (2, f"crossagent: {said}\n")
    (tmp_path / "far.yaml").write_text(
        "environment: {name: far}\nspaces: {control: {weight: 0.1}}\nstages: [sft]\nprompt: {style: compact}\n"
    )
    run = crossagent("run", "far.yaml", path=path)
    assert run.returncode == 2
    assert run.stderr.count(FIX) == 1, run.stderr
    assert "Traceback" not in run.stderr


SUITE = """
from crossagent.testing import ActionSpaceContract, ToySuite
from crossagent_control.space import ControlSpace
from far_plugin import Far


class TestControl(ActionSpaceContract):
    space, environment, suite = ControlSpace, Far, ToySuite
"""


def test_a_contract_suite_is_skipped_with_the_reason(
    python: Run, fake_plugin: Callable[[Path, str, str], Path], tmp_path: Path
) -> None:
    (tmp_path / "test_far.py").write_text(SUITE)
    site = fake_plugin(tmp_path / "site", "far", PLUGIN)
    done = python("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_far.py", path=[site])
    assert done.returncode == 0, done.stdout
    assert " skipped" in done.stdout
    assert " passed" not in done.stdout
    assert FIX in done.stdout
