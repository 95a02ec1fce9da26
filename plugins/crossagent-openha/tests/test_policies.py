"""The slot for learned policies: what they are asked, and that what they say is done."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from crossagent.plugin import Action, Observation, RawTick
from crossagent.testing import check_action_space
from crossagent.testing.checks.space_case import some_tasks
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
from crossagent_openha.grounding import Ground, GroundingSpace
from crossagent_openha.motion import MotionSpace
from crossagent_openha.policies import Goal, Step

asked: list[Goal] = []


class Walks:
    """Answers in MineRL's dict, with the pitch that a mu-law bin gives."""

    def begin(self, goal: Goal) -> Step:
        asked.append(goal)

        def step(observation: Observation) -> Mapping[str, Any]:
            assert observation.text
            return {"forward": 1, "sprint": 0, "camera": [0.0, -5.4]}

        return step


class Clicks:
    def begin(self, goal: Goal) -> Step:
        asked.append(goal)
        return lambda observation: RawTick((), ("left",), (6, 0))


def test_a_motion_policy_is_asked_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openha_policies", SimpleNamespace(walks=Walks))
    space = MotionSpace(ticks=3, policy="openha_policies:walks")
    env = CraftWorld()
    env.reset(suite().get("mine_block:dirt"), 0)
    asked.clear()
    outcome = space.executor.execute(Action("motion", ("move forward", "attack / mine")), env)
    assert outcome.ticks == 3
    assert asked == [Goal("move forward,attack/mine")]
    assert [(tick.keys, tick.camera) for tick in env.tick_log] == [(("w",), (-36, 0))] * 3
    assert not check_action_space(space, env, some_tasks(suite()), examples=8)


def test_a_grounding_policy_gets_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openha_policies", SimpleNamespace(clicks=Clicks))
    space = GroundingSpace(ticks=2, policy="openha_policies:clicks")
    env = CraftWorld()
    env.reset(suite().get("mine_block:dirt"), 0)
    asked.clear()
    space.executor.execute(Action("grounding", Ground("Mine", "oak log", ((3, 4),))), env)
    assert asked == [Goal("Mine", "oak log", ((3, 4),))]
    assert [tick.buttons for tick in env.tick_log] == [("left",)] * 2


def test_a_policy_that_cannot_be_built_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openha_policies", SimpleNamespace(none=object))
    with pytest.raises(ValueError, match="without begin"):
        MotionSpace(policy="openha_policies:none")
    with pytest.raises(ValueError, match="cannot be imported"):
        MotionSpace(policy="openha_policies:more")
