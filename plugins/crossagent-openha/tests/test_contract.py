"""The five spaces keep the contract, in CraftWorld and in the toy world, and their experts solve tasks."""

from __future__ import annotations

import importlib

import pytest

from crossagent.plugin import ActionSpaceSpec
from crossagent.registry.plugin_set import load_plugins
from crossagent.testing import ToySuite, ToyWorld, check_action_space, check_plugin, toy_environment
from crossagent.testing.checks.space_case import some_tasks
from crossagent_craftworld.ceilings import measure
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
from crossagent_openha import crossagent_action_spaces

SPECS = {spec.name: spec for spec in crossagent_action_spaces()}


def built(spec: ActionSpaceSpec, **options: object) -> object:
    module, _, name = str(spec.factory).partition(":")
    return getattr(importlib.import_module(module), name)(**options)


@pytest.mark.parametrize("name", SPECS)
def test_check_action_space(name: str) -> None:
    space = built(SPECS[name])
    assert (space.name, space.version, space.header) == (name, SPECS[name].version, SPECS[name].header)  # type: ignore[attr-defined]
    assert set(space.requires) == set(SPECS[name].requires)  # type: ignore[attr-defined]
    for env, tasks in ((CraftWorld(), some_tasks(suite())), (ToyWorld(), some_tasks(ToySuite()))):
        findings = check_action_space(space, env, tasks, examples=40)  # type: ignore[arg-type]
        assert not findings, "\n".join(map(str, findings))


@pytest.mark.parametrize("name", SPECS)
def test_a_header_that_another_installed_space_has_is_meant(name: str) -> None:
    plugins = load_plugins().with_(environment=toy_environment())
    for space in (name, *SPECS[name].instead_of):
        assert not check_plugin(plugins, space, "toy")


SOLVED = {
    "text_action": ("mine_block:oak_log", "craft_item:paper", "kill_entity:cow"),
    "motion": ("mine_block:dirt", "mine_block:oak_log"),
    "grounding": ("mine_block:oak_log", "kill_entity:cow"),
    "motion_coa": ("mine_block:oak_log", "craft_item:paper", "kill_entity:cow"),
    "grounding_coa": ("mine_block:oak_log", "kill_entity:cow"),
}


@pytest.mark.parametrize("name", SOLVED)
def test_experts_solve_tasks_through_the_space(name: str) -> None:
    tasks = [suite().get(task) for task in SOLVED[name]]
    assert measure(tasks, [0], [name])[name, "all"].success == 1.0
