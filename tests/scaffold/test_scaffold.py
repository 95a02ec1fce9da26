"""A generated package keeps the contract as it is: by ``crossagent check``, by its own tests, and from its wheel."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crossagent.plugin import ActionSpaceSpec, EnvironmentSpec
from crossagent.registry.plugin_set import PluginSet, load_plugins
from crossagent.scaffold import ScaffoldError, new_package
from crossagent.testing import check_plugin, toy_environment

ROOT = Path(__file__).parents[2]
KINDS = ("space", "environment")
Load = Callable[[Path, str], types.ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, str], types.ModuleType]]:
    """Import the module of a generated package, for the time of one test."""
    loaded: list[str] = []

    def importing(directory: Path, name: str) -> types.ModuleType:
        monkeypatch.syspath_prepend(str(directory / "src"))
        loaded.append(f"crossagent_{name}")
        return importlib.import_module(loaded[-1])

    yield importing
    for name in loaded:
        sys.modules.pop(name, None)


def files(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_has_its_module_tests_readme_and_entry_point(kind: Any, tmp_path: Path) -> None:
    import tomllib

    written = new_package(kind, "my_thing", tmp_path / "x", PluginSet())
    assert files(written) == [
        "README.md",
        "pyproject.toml",
        "src/crossagent_my_thing/__init__.py",
        "src/crossagent_my_thing/py.typed",
        "tests/test_my_thing.py",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["x"], "the scratch directory is gone"
    project = tomllib.loads((written / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["entry-points"]["crossagent"]) == (
        "crossagent-my-thing",
        {"my_thing": "crossagent_my_thing"},
    )
    assert not [text for name in files(written) if "${" in (text := (written / name).read_text())]


def test_the_space_is_short_and_keeps_the_contract_on_every_world(tmp_path: Path, load: Load) -> None:
    written = new_package("space", "stride", tmp_path / "x", load_plugins())
    module = load(written, "stride")
    code = Path(str(module.__file__)).read_text()
    assert 40 <= len([line for line in code.splitlines() if line.strip()]) <= 60
    assert ast.get_docstring(ast.parse(code))
    (spec,) = module.crossagent_action_spaces()
    assert isinstance(spec, ActionSpaceSpec)
    plugins = load_plugins().with_(space=spec)
    assert "craftworld" in plugins.environments
    assert check_plugin(plugins, "stride") == []


@pytest.mark.parametrize("parser", ["earley", "lalr"])
def test_the_space_s_grammar_goes_together_with_the_others(parser: Any, tmp_path: Path, load: Load) -> None:
    from lark import Lark

    from crossagent.testing import ToyWorld

    module = load(new_package("space", "stride", tmp_path / "x", PluginSet()), "stride")
    plugins = load_plugins().with_(space=module.crossagent_action_spaces()[0])
    spaces = plugins.build_space_set({"api": {}, "stride": {}, "gui": {}, "control": {}})
    lark = Lark(spaces.grammar(ToyWorld()), parser=parser)
    for text in (
        "Stride: 2x goto apple",
        "Stride: 1x walk_to 7",
        "Api: goto(apple)",
        "Gui: click(5, 6)",
        "Action: no_op",
    ):
        assert lark.parse(text)


def test_the_space_gets_demonstrations_that_succeed(tmp_path: Path, load: Load) -> None:
    from crossagent.envs.world import World, WorldConfig
    from crossagent.testing import ToySuite

    module = load(new_package("space", "stride", tmp_path / "x", PluginSet()), "stride")
    world = World(WorldConfig(env=toy_environment(), spaces=((module.crossagent_action_spaces()[0], {}),)))
    shown = [world.demonstrate(ToySuite().get("get:apple"), seed, ("stride",), seed) for seed in range(4)]
    assert all(demonstration.success for demonstration in shown)
    assert shown[0].texts[0] == "Stride: 1x goto apple"


def test_the_environment_is_played_by_the_installed_spaces(tmp_path: Path, load: Load) -> None:
    module = load(new_package("environment", "strip", tmp_path / "x", PluginSet()), "strip")
    (spec,) = module.crossagent_environments()
    assert isinstance(spec, EnvironmentSpec)
    plugins = load_plugins().with_(environment=spec)
    assert check_plugin(plugins, "strip") == []
    assert check_plugin(plugins, "control", "strip") == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Stride", r"'Stride' is no name of an action space: .*for instance 'stride'"),
        ("my-space", "for instance 'my_space'"),
        ("MySpace", "for instance 'my_space'"),
        ("2fast", "a letter first"),
        ("a__b", "single _"),
        ("", "expected lower-case letters"),
        ("../evil", "expected lower-case letters"),
        ("a" * 33, "at most 32 characters"),
        ("class", "a word of Python"),
        ("mixed", "recipes call the agent of all spaces"),
        ("api", r"called 'api' \(action space 'api' of crossagent-api\)"),
        ("craftworld", "an installed environment is called 'craftworld'"),
        ("minecraft_data", "a module 'crossagent_minecraft_data' is installed already"),
        ("action", "the installed space 'control' has 'Action:'"),
    ],
)
def test_a_name_that_would_not_work_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match=reason):
        new_package("space", name, tmp_path / "x", load_plugins())
    assert not list(tmp_path.iterdir())


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("mine")
    with pytest.raises(ScaffoldError, match="is not empty; name another directory"):
        new_package("space", "stride", tmp_path / "x", PluginSet())
    assert files(tmp_path) == ["x/mine.txt"]
    (tmp_path / "empty").mkdir()
    assert (new_package("space", "stride", tmp_path / "empty", PluginSet()) / "pyproject.toml").is_file()


def test_nothing_half_written_is_left_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str, **_: Any) -> int:
        if self.name.startswith("test_"):
            raise OSError(28, "No space left on device")
        return original(self, text, **_)

    original = Path.write_text
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ScaffoldError, match=r"cannot be written .*No space left"):
        new_package("space", "stride", tmp_path / "x", PluginSet())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_generated_is_formatted_and_lints(kind: Any, tmp_path: Path) -> None:
    written = new_package(kind, "stride", tmp_path / "x", PluginSet())
    for command in (["check", "--select", "E,F,I,UP,B,SIM,RET"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", "."]
        done = subprocess.run(ruff, cwd=written, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_says_what_to_do_next_and_a_fault_without_a_traceback(crossagent: Any, tmp_path: Path) -> None:
    done = crossagent("new-space", "stride")
    assert done.returncode == 0, done.stderr
    assert "crossagent check stride" in done.stdout
    assert (tmp_path / "crossagent-stride" / "pyproject.toml").is_file()
    again = crossagent("new-space", "stride")
    assert (again.returncode, "Traceback" in again.stderr) == (2, False)
    assert "is not empty" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_built_installed_checked_and_tested_in_a_fresh_environment(
    kind: Any, fresh_environment: Any, tmp_path: Path
) -> None:
    done = fresh_environment.run("-m", "crossagent", f"new-{kind}", f"my_{kind}", "package", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    fresh_environment.install(fresh_environment.build(tmp_path / "package", tmp_path / "dist"))
    listing = json.loads(fresh_environment.run("-m", "crossagent", "plugins", "--json", cwd=tmp_path).stdout)
    assert f"my_{kind}" in {row["name"] for row in listing[f"{kind}s"]}
    checked = fresh_environment.run("-m", "crossagent", "check", f"my_{kind}", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, f"my_{kind}: passed\n"), checked.stdout + checked.stderr
    tested = fresh_environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path / "package")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.slow
def test_our_wheel_brings_the_templates_and_the_pytest_plugin(fresh_environment: Any, tmp_path: Path) -> None:
    fresh_environment.install(fresh_environment.build(ROOT, tmp_path))
    where = fresh_environment.run("-c", "import crossagent; print(crossagent.__file__)", cwd=tmp_path, checkout=False)
    assert str(fresh_environment.directory) in where.stdout, "this must be the wheel, not the checkout"
    done = fresh_environment.run("-m", "crossagent", "new-space", "wheely", "package", cwd=tmp_path, checkout=False)
    assert done.returncode == 0, done.stderr
    fresh_environment.install(fresh_environment.build(tmp_path / "package", tmp_path / "dist"))
    tests = tmp_path / "package" / "tests" / "test_wheely.py"
    tests.write_text(
        tests.read_text()
        + "\n\ndef test_the_fixtures(crossagent_plugins):\n    assert 'wheely' in crossagent_plugins.spaces\n"
    )
    space = tmp_path / "package/src/crossagent_wheely/__init__.py"
    space.write_text(space.read_text().replace("1.0 + 0.05 * outcome.ticks", "-1.0"))
    fresh_environment.install(fresh_environment.build(tmp_path / "package", tmp_path / "dist2"), again=True)
    tested = fresh_environment.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path / "package", checkout=False
    )
    assert "1 failed" in tested.stdout, tested.stdout + tested.stderr
    assert "cost: the cost of 'Wheely: " in tested.stdout
    assert "ContractBroken" not in tested.stdout.split("short test summary")[0], "the plugin shows the message alone"
