"""What an action costs: what its plugin says, or what the recipe says."""

from dataclasses import replace

import pytest

from crossagent.envs.workers.pool import WorkerPool
from crossagent.plugin import SamplingParams
from crossagent.rollout.evaluate import evaluate_experts
from crossagent.rollout.loop import Episode, play
from crossagent.spaces.base import CostRule
from crossagent.testing import ToySuite
from crossagent.types import Trajectory, Turn

SUITE = ToySuite()


def played(toy, prompt, sampler, costs: dict[str, CostRule], spaces: tuple[str, ...] = ("api", "gui", "control")):
    with WorkerPool(replace(toy, costs=costs), 0, 8, timeout_s=30) as pool:
        episodes = [Episode(SUITE.get("get:apple"), 5, g, 0, spaces) for g in range(8)]
        params = SamplingParams(max_new_tokens=48)
        return play(episodes, pool=pool, sampler=sampler, prompt=prompt, params=params, seed=7, step=3)


def turns(trajectories: list[Trajectory], space: str) -> list[Turn]:
    return [turn for t in trajectories for turn in t.turns if turn.space == space]


def test_a_rule_adds_up_plugin_turn_tick_and_token(toy, prompt, whimsical):
    own = played(toy, prompt, whimsical, {})
    rule = CostRule(plugin=2.0, per_turn=0.5, per_tick=0.25, per_token=0.125)
    ruled = played(toy, prompt, whimsical, {"control": rule})
    assert [t.success for t in own] == [t.success for t in ruled]
    assert turns(own, "api") == turns(ruled, "api"), "a rule is of its space alone"
    pairs = list(zip(turns(own, "control"), turns(ruled, "control"), strict=True))
    assert len([a for a, _ in pairs if not a.invalid]) > 5
    for a, b in pairs:
        expected = 2.0 * a.cost + 0.5 + 0.25 * a.ticks + 0.125 * len(a.response_ids)
        assert b.cost == (0.0 if a.invalid else pytest.approx(expected))
    assert any(a.invalid for a, _ in pairs + [(t, t) for t in turns(own, "api")])


def test_a_header_that_was_given_is_no_sampled_token(toy, prompt, whimsical):
    rule = {"control": CostRule(plugin=0.0, per_token=1.0)}
    for turn in turns(played(toy, prompt, whimsical, rule, ("control",)), "control"):
        assert turn.forced == len("Action:")
        assert turn.cost == (0.0 if turn.invalid else len(turn.response_ids) - turn.forced)


def test_experts_pay_by_the_same_rule_but_sample_no_tokens(toy):
    listed = [(SUITE.get("get:apple"), seed) for seed in range(4)]
    rule = {"control": CostRule(plugin=0.0, per_turn=1.0, per_token=100.0)}
    with WorkerPool(replace(toy, costs=rule), 0, 4, timeout_s=30) as pool:
        cell, _ = evaluate_experts(listed, kind="control", pool=pool, seed=0, weights={"control": 0.5})
    assert cell["cost"] == 0.5 * cell["turns"] > 0
