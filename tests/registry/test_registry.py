"""Every way a plugin can be wrong is that plugin's failure, by name, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
import types
from importlib.metadata import EntryPoint
from typing import Any, Literal

import pytest

from crossagent.errors import PluginError
from crossagent.plugin import ActionSpaceSpec, EnvironmentSpec, hookimpl
from crossagent.plugin_version import CONTRACT
from crossagent.registry.plugin_set import LoadStep, PluginSet, check_pairing, load_plugins
from crossagent.testing import ToyWorld, toy_environment


def space(name: str = "talk", **more: Any) -> ActionSpaceSpec:
    return ActionSpaceSpec(
        **{"name": name, "version": "1", "requires": (), "header": f"{name}:", "factory": "some.module:Some", **more}
    )


class Package:
    """An installed distribution, as importlib.metadata shows it to an entry point."""

    version = "2.1"

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a module in place and returns its entry point."""

    def put(name: str, distribution: str = "", **contents: Any) -> EntryPoint:
        module = types.ModuleType(f"fake_{name}_{distribution.replace('-', '_')}")
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        entry = EntryPoint(name, module.__name__, "crossagent")
        vars(entry)["dist"] = Package(distribution or f"crossagent-{name}")
        return entry

    return put


def spaces_hook(*specs: Any) -> Any:
    @hookimpl
    def crossagent_action_spaces() -> Any:
        return list(specs)

    return crossagent_action_spaces


def failure(entries: list[EntryPoint], name: str) -> str:
    """Load, check that the good plugin is untouched, and return why ``name`` failed."""
    plugins = load_plugins(entries)
    (found,) = [f for f in plugins.failures if f.name == name]
    assert found.origin.distribution == f"crossagent-{name}"
    assert found.origin.version == "2.1"
    assert "good" in plugins.spaces
    with pytest.raises(PluginError, match=f"crossagent-{name}"):
        plugins.space(name)
    return found.reason


def test_the_installed_spaces_are_found_with_their_packages() -> None:
    rows = {row["name"]: row for row in load_plugins().listing()["spaces"]}
    assert {"api", "gui", "control"} <= set(rows)
    assert rows["gui"]["distribution"] == "crossagent-gui"
    assert rows["gui"]["requires"] == ["pointer"]
    assert rows["gui"]["distribution_version"]


def test_listing_loads_no_torch_and_builds_nothing() -> None:
    code = (
        "import sys; from crossagent.registry.plugin_set import load_plugins; load_plugins().listing();"
        "print(sorted({'torch', 'lightning', 'transformers', 'crossagent_api.space'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_an_import_error_is_named(install: Any) -> None:
    entries = [install("good", crossagent_action_spaces=spaces_hook(space("good")))]
    lost = EntryPoint("bad", "no_such_module_anywhere", "crossagent")
    vars(lost)["dist"] = Package("crossagent-bad")
    assert "no_such_module_anywhere" in failure([*entries, lost], "bad")


def test_a_plugin_that_exits_while_it_is_imported_is_named(
    install: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quits_at_once.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    quits = EntryPoint("bad", "quits_at_once", "crossagent")
    vars(quits)["dist"] = Package("crossagent-bad")
    assert "SystemExit" in failure([quits, install("good", crossagent_action_spaces=spaces_hook(space("good")))], "bad")


def test_a_misspelt_hook_is_named_with_the_right_name(install: Any) -> None:
    hook = spaces_hook(space())
    hook.__name__ = "crossagent_action_space"
    good = install("good", crossagent_action_spaces=spaces_hook(space("good")))
    reason = failure([good, install("bad", crossagent_action_space=hook)], "bad")
    assert "unknown hook 'crossagent_action_space'" in reason
    assert "Did you mean 'crossagent_action_spaces'" in reason


def _raising_hook() -> Any:
    @hookimpl
    def crossagent_action_spaces() -> Any:
        raise OSError("no disk")

    return crossagent_action_spaces


def _greedy_hook() -> Any:
    @hookimpl
    def crossagent_action_spaces(config: Any) -> Any:
        return []

    return crossagent_action_spaces


def _single_hook() -> Any:
    @hookimpl
    def crossagent_action_spaces() -> Any:
        return space()

    return crossagent_action_spaces


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ({"crossagent_action_spaces": lambda: [space()]}, "put @hookimpl on crossagent_action_spaces"),
        ({}, "no hook marked with @hookimpl; it needs one of crossagent_action_spaces"),
        ({"crossagent_action_spaces": _raising_hook()}, "OSError: no disk"),
        ({"crossagent_action_spaces": _greedy_hook()}, "config"),
        ({"crossagent_action_spaces": _single_hook()}, "returned ActionSpaceSpec; expected a list"),
        ({"crossagent_action_spaces": spaces_hook({"name": "talk"})}, "expected ActionSpaceSpec"),
        ({"crossagent_action_spaces": spaces_hook(toy_environment())}, "expected ActionSpaceSpec"),
        ({"crossagent_action_spaces": spaces_hook(space("Talk"))}, "'Talk': a name is lower-case"),
        ({"crossagent_action_spaces": spaces_hook(space(version=1))}, "version is 1; expected a string"),
        ({"crossagent_action_spaces": spaces_hook(space(requires="control"))}, "expected a tuple of interface names"),
        ({"crossagent_action_spaces": spaces_hook(space(header=" "))}, "header is ' '"),
        ({"crossagent_action_spaces": spaces_hook(space(factory="some.module.Some"))}, "expected 'module:Name'"),
        ({"crossagent_action_spaces": spaces_hook(space(), space())}, "declared twice by this plugin"),
        ({"CROSSAGENT_CONTRACT": "2.0", "crossagent_action_spaces": spaces_hook(space())}, f"contract 2.0, this crossagent has contract {CONTRACT}. Fix: upgrade crossagent"),
        ({"CROSSAGENT_CONTRACT": 2, "crossagent_action_spaces": spaces_hook(space())}, "is 2; expected 'MAJOR.MINOR' as a string"),
        ({"crossagent_action_spaces": spaces_hook(space("mixed"))}, "recipes call the agent of all spaces 'mixed'"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_named(install: Any, contents: dict[str, Any], reason: str) -> None:
    good = install("good", crossagent_action_spaces=spaces_hook(space("good")))
    assert reason in failure([install("bad", **contents), good], "bad")


def test_two_packages_with_one_plugin_name_are_refused_both(install: Any) -> None:
    one = install("talk", "crossagent-one", crossagent_action_spaces=spaces_hook(space("talk")))
    two = install("talk", "crossagent-two", crossagent_action_spaces=spaces_hook(space("speak")))
    for entries in ([one, two], [two, one]):
        plugins = load_plugins(entries)
        assert not plugins.spaces
        assert [f.origin.distribution for f in plugins.failures] == ["crossagent-one", "crossagent-two"]
        with pytest.raises(PluginError, match=r"crossagent-one .* and crossagent-two .*uninstall one"):
            plugins.space("talk")


def test_two_plugins_that_declare_one_space_are_refused_both_whatever_the_order(install: Any) -> None:
    one = install("one", crossagent_action_spaces=spaces_hook(space("talk"), space("walk")))
    two = install("two", crossagent_action_spaces=spaces_hook(space("talk")))
    three = install("three", crossagent_action_spaces=spaces_hook(space("three")))
    for entries in ([one, two, three], [three, two, one]):
        plugins = load_plugins(entries)
        assert set(plugins.spaces) == {"three"}
        with pytest.raises(PluginError, match=r"also declared by 'two' \(crossagent-two\)"):
            plugins.space("walk")


def test_an_unknown_name_comes_with_a_suggestion_and_the_broken_plugins(install: Any) -> None:
    plugins = load_plugins([install("good", crossagent_action_spaces=spaces_hook(space("good"))), install("bad")])
    with pytest.raises(
        PluginError, match=r"unknown action space 'goood'. Did you mean 'good'\?.*'bad' of crossagent-bad"
    ):
        plugins.space("goood")


def test_a_set_is_a_value() -> None:
    before = PluginSet()
    after = before.with_(environment=toy_environment(), space=space())
    assert (list(after.spaces), list(after.environments)) == (["talk"], ["toy"])
    assert before == PluginSet()
    with pytest.raises(PluginError, match="lower-case"):
        before.with_(space=space("No"))


def test_a_pairing_without_the_interface_names_all_three() -> None:
    silent = EnvironmentSpec("silent", "1", ("control", "pointer"), "a:B", "a:C")
    with pytest.raises(
        PluginError, match=r"'api' needs the interface 'skills', which environment 'silent' lacks .*control, pointer"
    ):
        check_pairing(load_plugins().space("api"), silent)
    check_pairing(load_plugins().space("gui"), silent)


def test_building_passes_options_and_refuses_unknown_ones() -> None:
    plugins = load_plugins().with_(environment=toy_environment())
    assert "for 7 ticks" in plugins.build_space("control", {"ticks": 7}).tokenizer.prompt_fragment(ToyWorld())
    assert plugins.build_environment("toy", {"cells": 9}).cells == 9  # type: ignore[attr-defined]
    assert plugins.suite("toy", {"cells": 9}).get("get:apple").env == "toy"
    with pytest.raises(
        PluginError, match=r"'control' of crossagent-control: unknown option 'tick'. Did you mean 'ticks'"
    ):
        plugins.build_space("control", {"tick": 7})
    with pytest.raises(PluginError, match=r"ticks: got 0; expected at least 1"):
        plugins.build_space("control", {"ticks": 0})
    with pytest.raises(PluginError, match="unknown option 'size'"):
        plugins.build_environment("toy", {"size": 9})


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("no_such_module_anywhere:Some", "cannot load 'no_such_module_anywhere:Some'"),
        ("crossagent_api.space:NoSuchSpace", "NoSuchSpace"),
        ("collections:OrderedDict", "expected an ActionSpace"),
        ("crossagent_api.space:ApiSpace", "the spec declares name='talk'"),
    ],
)
def test_a_factory_that_breaks_its_declaration_is_named(factory: str, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        PluginSet().with_(space=space(factory=factory)).build_space("talk")


def test_a_clash_of_headers_is_found_when_the_spaces_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from crossagent_api.space import ApiSpace

    class Shouting(ApiSpace):
        name, header = "shout", "Api:!"

    monkeypatch.setattr("crossagent_api.space.Shouting", Shouting, raising=False)
    clash = space("shout", requires=("skills",), header="Api:!", factory="crossagent_api.space:Shouting")
    plugins = load_plugins().with_(space=clash)
    assert list(plugins.build_space_set({"gui": {}, "shout": {}}, {"gui": 0.1})) == ["gui", "shout"]
    with pytest.raises(PluginError, match="'api' and 'shout' share the header"):
        plugins.build_space_set({"api": {}, "shout": {}})


# -- without packaging -----------------------------------------------------------------------------------------------
def test_a_space_is_added_as_class_as_object_and_as_declaration() -> None:
    from crossagent_control.space import ControlSpace

    by_class = PluginSet().with_(space=ControlSpace)
    assert "for 7 ticks" in by_class.build_space("control", {"ticks": 7}).tokenizer.prompt_fragment(ToyWorld())
    assert by_class.spaces["control"].requires == ("control",)
    with pytest.raises(PluginError, match=r"unknown option 'tick'. Did you mean 'ticks'"):
        by_class.build_space("control", {"tick": 7})

    given = ControlSpace(ticks=9)
    by_object = PluginSet().with_(space=given)
    built = by_object.build_space("control")
    assert "for 9 ticks" in built.tokenizer.prompt_fragment(ToyWorld())
    assert built is not given, "a run must not share state with another"
    with pytest.raises(PluginError, match="unknown option 'ticks'"):
        by_object.build_space("control", {"ticks": 7})
    assert PluginSet().with_(space=by_object.spaces["control"]).build_space("control").name == "control"


def test_a_value_that_the_annotation_excludes_is_refused_and_nothing_is_built() -> None:
    from crossagent_control.space import ControlSpace

    class Picky(ControlSpace):
        def __init__(self, pace: Literal["slow", "fast"] = "slow", size: int = 1) -> None:
            raise AssertionError("built")

    plugins = PluginSet().with_(space=Picky)
    with pytest.raises(PluginError, match=r"'control': option 'pace': got 'fats'; expected one of 'slow', 'fast'"):
        plugins.build_space("control", {"pace": "fats"})
    craftworld = load_plugins()
    with pytest.raises(PluginError, match=r"option 'terrain': got 'hills'; expected one of 'plains', 'biomes'"):
        craftworld.check_environment_options("craftworld", {"terrain": "hills"})
    craftworld.check_environment_options("craftworld", {"terrain": "biomes", "level": 2})


def test_what_is_no_space_is_refused() -> None:
    with pytest.raises(PluginError, match="expected an ActionSpace, its class, or an ActionSpaceSpec"):
        PluginSet().with_(space=ToyWorld)  # type: ignore[arg-type]

    from crossagent_api.space import ApiSpace

    class Headless(ApiSpace):
        header = ""

    with pytest.raises(PluginError, match="header is ''"):
        PluginSet().with_(space=Headless)


def test_an_environment_is_added_with_classes_instead_of_names() -> None:
    from dataclasses import replace

    from crossagent.testing import ToySuite, check_plugin
    from crossagent.testing.toy_tasks import SkillsExpert

    spec = replace(toy_environment(), factory=ToyWorld, suite=ToySuite, experts={"skills": SkillsExpert})
    plugins = PluginSet().with_(environment=spec)
    assert plugins.build_environment("toy", {"cells": 9}).cells == 9  # type: ignore[attr-defined]
    assert check_plugin(plugins, "toy") == []


def test_a_package_declares_names_not_classes(install: Any) -> None:
    good = install("good", crossagent_action_spaces=spaces_hook(space("good")))
    reason = failure([good, install("bad", crossagent_action_spaces=spaces_hook(space(factory=ToyWorld)))], "bad")
    assert "factory is <class" in reason
    assert "expected 'module:Name'" in reason


# -- the trace -------------------------------------------------------------------------------------------------------
def test_the_trace_has_every_import_and_hook_call_with_what_came_of_it(install: Any) -> None:
    steps: list[LoadStep] = []
    load_plugins(
        [
            install("bad", crossagent_action_spaces=_raising_hook()),
            EntryPoint("gone", "no_such_module_anywhere", "crossagent"),
            install("good", crossagent_action_spaces=spaces_hook(space("talk"), space("walk"))),
        ],
        steps,
    )
    shown = [(step.plugin, step.step, step.result, step.error) for step in steps if step.step != "import" or step.error]
    assert shown == [
        ("bad", "crossagent_action_spaces", "", "OSError: no disk"),
        ("gone", "import", "", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("good", "crossagent_action_spaces", "talk, walk", ""),
    ]
    assert [step.plugin for step in steps if step.step == "import"] == ["bad", "gone", "good"]
    assert all(step.milliseconds >= 0 for step in steps)
