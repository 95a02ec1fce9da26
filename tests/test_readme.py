"""What README.md promises besides its commands (tests/docs runs those): targets, files, the example space."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from crossagent.plugin import ActionSpaceSpec
from crossagent.registry.plugin_set import PluginSet
from crossagent.testing import check_plugin, toy_environment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.removeprefix("$ ") for block in BLOCKS for line in block.splitlines() if line.startswith("$ ")]
MAKE = [command for command in COMMANDS if command.startswith("make ")]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_make_targets_are_found() -> None:
    assert {"make quickstart", "make test"} <= set(MAKE)


@pytest.mark.parametrize("command", MAKE)
def test_a_make_target_of_the_readme_exists(command: str) -> None:
    result = subprocess.run(["make", "--dry-run", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_files_that_are_mentioned_exist() -> None:
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / name).exists(), name


def test_the_example_space_passes_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 42
    module = types.ModuleType("my_package")
    monkeypatch.setitem(sys.modules, "my_package", module)
    exec(compile(code, "README.md", "exec"), module.__dict__)
    (spec,) = module.crossagent_action_spaces()
    assert isinstance(spec, ActionSpaceSpec)
    plugins = PluginSet().with_(space=spec).with_(environment=toy_environment())
    assert check_plugin(plugins, "wait") == []


@pytest.mark.slow
def test_the_quickstart_runs(crossagent: Run, tmp_path: Path) -> None:
    """The recipe of ``make quickstart`` to its end; minutes."""
    result = crossagent("run", ROOT / "recipes/quickstart.yaml", timeout=3600)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs/quickstart/summary.json").is_file()
