import math

import pytest

from crossagent.envs.workers.pool import WorkerPool
from crossagent.errors import TaskError
from crossagent.plugin import SamplingParams
from crossagent.rollout.evaluate import aggregate, evaluate, evaluate_experts, evaluation_list, wilson
from crossagent.testing import ToySuite
from crossagent.types import StopReason, Trajectory, Turn

TRAIN = [t for t in ToySuite().tasks() if "train" in t.splits]


def turn(space, cost=1.0, ticks=2, invalid=""):
    return Turn((), (), (), space=space, cost=cost, ticks=ticks, invalid=invalid)


def trajectory(task, success, turns=(), stop=StopReason.terminated):
    return Trajectory(task, task.split(":")[0], "toy", 1, 0, 0, tuple(turns), stop, success, spaces=("api", "gui"))


PLAYED = [
    trajectory("mine:a", True, [turn("api", cost=2, ticks=10), turn("gui", cost=1, ticks=4)]),
    trajectory("mine:a", False, [turn("api")] * 4, StopReason.max_turns),
    trajectory("mine:b", False, [turn(None, 0.0, 0, "no header"), turn("gui")], StopReason.max_ticks),
    trajectory("craft:c", True, [turn("gui")]),
    trajectory("craft:c", True, [turn("gui")], StopReason.failure),
]


def test_the_figures_by_hand():
    result = aggregate(PLAYED, {"api": 0.05, "gui": 0.1})
    assert (result["episodes"], result["failures"]) == (4, 1)
    assert result["success"] == 0.5
    # costs: 2·.05 + 1·.1 = .2; 4·.05 = .2; .1; .1
    assert result["cost"] == pytest.approx(0.15)
    assert result["return"] == pytest.approx((0.8 - 0.2 - 0.1 + 0.9) / 4)
    assert result["turns"] == 9 / 4
    assert result["ticks"] == (14 + 8 + 2 + 2) / 4
    assert result["shares"] == {"api": 5 / 9, "gui": 3 / 9, "none": 1 / 9}
    assert result["invalid"] == 1 / 9
    assert result["stops"] == {"terminated": 2, "max_turns": 1, "max_ticks": 1, "failure": 1}
    mine = result["categories"]["mine"]
    assert (mine["episodes"], mine["tasks"]) == (3, 2)
    assert (mine["asr"], mine["ft"], mine["success"]) == (0.25, 0.5, pytest.approx(1 / 3))
    assert result["categories"]["craft"]["asr"] == 1.0
    assert list(result["categories"]) == ["craft", "mine"]
    assert result == aggregate(PLAYED[::-1], {"api": 0.05, "gui": 0.1})


def test_wilson_against_published_values():
    # Newcombe 1998, Table I, method 3 (score): 81/263, 15/148, 0/20, 1/29
    for k, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718)):
        assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 20)[0] == 0.0
    assert wilson(0, 20)[1] == pytest.approx(0.1611, abs=5e-5)
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_nothing_played_gives_zeros_and_no_knowledge():
    result = aggregate([PLAYED[-1]], {})
    assert (result["episodes"], result["failures"], result["success"], result["ci95"]) == (0, 1, 0.0, [0.0, 1.0])
    assert all(not isinstance(v, float) or math.isfinite(v) for v in result.values())
    assert result["categories"] == {}


def test_the_list_is_fixed_even_and_held_out():
    listed = evaluation_list("id", TRAIN, 20, seed=5)
    assert listed == evaluation_list("id", TRAIN[::-1], 20, seed=5)
    counts = [sum(task.name == t.name for task, _ in listed) for t in TRAIN]
    assert sorted(counts) == [3, 3, 3, 3, 4, 4]
    assert len({seed for _, seed in listed}) == 20
    assert not {s for _, s in listed} & {s for _, s in evaluation_list("ood", TRAIN, 20, seed=5)}
    assert evaluation_list("id", TRAIN, 6, seed=5) == listed[:6], "a shorter list is a part of the longer one"
    with pytest.raises(TaskError, match=r"'moon'.*0 solvable"):
        evaluation_list("moon", [ToySuite().get("get:moon")], 5, seed=0)


def test_cells_are_paired_and_repeatable(pool, prompt, whimsical):
    listed = evaluation_list("id", TRAIN, 12, seed=5)
    shared = {
        "pool": pool,
        "sampler": whimsical,
        "prompt": prompt,
        "params": SamplingParams(max_new_tokens=48),
        "seed": 5,
        "weights": {},
    }
    mixed, played = evaluate(listed, spaces=("api", "gui", "control"), **shared)
    assert (mixed, played) == evaluate(listed, spaces=("api", "gui", "control"), **shared)
    alone, single = evaluate(listed, spaces=("api",), **shared)
    assert [(t.task, t.seed, t.state_hash) for t in played] == [(t.task, t.seed, t.state_hash) for t in single]
    assert [(t.task, t.seed) for t in played] == [(task.name, seed) for task, seed in listed]
    assert mixed["episodes"] == alone["episodes"] == 12
    assert set(alone["shares"]) == {"api"}


def test_experts_show_the_ceiling_of_each_space(pool):
    listed = evaluation_list("id", TRAIN, 36, seed=5)
    ceilings = {
        kind: evaluate_experts(listed, kind=kind, pool=pool, seed=5, weights={"control": 0.01})[0]
        for kind in ("api", "gui", "control", "mixed")
    }
    assert ceilings["mixed"]["success"] > max(ceilings[kind]["success"] for kind in ("api", "gui", "control"))
    assert ceilings["api"]["categories"]["get"]["success"] == 1.0
    assert ceilings["api"]["categories"]["make"]["success"] == 0.0
    assert ceilings["gui"]["shares"] == {"gui": 1.0}
    assert set(ceilings["mixed"]["shares"]) == {"api", "gui", "control"}
    assert ceilings["control"]["return"] < ceilings["control"]["success"]
    assert all(cell["episodes"] == 36 for cell in ceilings.values())


def test_a_world_that_breaks_is_a_failure_of_the_cell(faulty):
    listed = evaluation_list("id", TRAIN, 6, seed=5)
    with WorkerPool(faulty(fault="raise", seeds=[listed[2][1]]), 0, 2, timeout_s=5) as pool:
        result, played = evaluate_experts(listed, kind="control", pool=pool, seed=5, weights={})
    assert (result["episodes"], result["failures"]) == (5, 1)
    assert "raised" in played[2].failure
