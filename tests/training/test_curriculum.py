"""Which task a group plays: a function of seed, place and record alone."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from training_kit import toy_tasks

from crossagent.training.config import GRPOConfig
from crossagent.training.sources import TaskPicker
from crossagent.types import StopReason, Trajectory

TASKS = toy_tasks()
UNCERTAIN = GRPOConfig(groups=3, curriculum="uncertain", curriculum_floor=0.01)


def group(*successes: bool, failed: int = 0) -> list[Trajectory]:
    live = [Trajectory("t", "c", "", 0, 0, i, (), StopReason.terminated, s) for i, s in enumerate(successes)]
    return live + [Trajectory("t", "c", "", 0, 0, 9, (), StopReason.failure, False)] * failed


def played(picker: TaskPicker, iterations: range) -> list[list[int]]:
    """Pick and note outcomes that depend on the task and the iteration."""
    picks = []
    for iteration in iterations:
        chosen = picker.pick(iteration, 0, picker.config.groups)
        for index in chosen:
            picker.update(index, group((iteration + index) % 2 == 0, index % 3 == 0))
        picks.append(chosen)
    return picks


@pytest.mark.parametrize("curriculum", ["uniform", "uncertain"])
def test_the_same_seed_picks_the_same_and_a_resumed_picker_goes_on(curriculum: str) -> None:
    config = replace(UNCERTAIN, curriculum=curriculum)
    whole = played(TaskPicker(TASKS, config, 5), range(12))
    assert played(TaskPicker(TASKS, config, 5), range(12)) == whole
    assert played(TaskPicker(TASKS, config, 6), range(12)) != whole
    first = TaskPicker(TASKS, config, 5)
    assert played(first, range(7)) == whole[:7]
    again = TaskPicker(TASKS, config, 5)
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert played(again, range(7, 12)) == whole[7:]


def test_picking_changes_nothing_and_only_the_record_matters() -> None:
    one, other = TaskPicker(TASKS, UNCERTAIN, 1), TaskPicker(TASKS, UNCERTAIN, 1)
    for _ in range(5):
        one.pick(0, 0, 3)
    assert one.state_dict() == other.state_dict()
    assert one.pick(4, 0, 3) == other.pick(4, 0, 3)


def test_a_round_draws_every_task_before_it_draws_one_twice() -> None:
    picker = TaskPicker(TASKS, UNCERTAIN, 1)
    for _ in range(50):
        picker.update(0, group(True, False))
    number = len(TASKS)
    for iteration in range(20):
        counts = Counter(picker.pick(iteration, 0, 2 * number + 1))
        assert set(counts.values()) <= {2, 3}
        assert len(counts) == number


def test_the_record_fades_and_failed_worlds_are_no_failures_of_the_policy() -> None:
    config = replace(UNCERTAIN, curriculum_decay=0.5)
    picker = TaskPicker(TASKS, config, 1)
    assert picker.success(0) == 0.5
    picker.update(0, group(True, True))
    assert picker.success(0) == pytest.approx(1.5 / 2)
    picker.update(0, group(False, False))
    assert picker.success(0) == pytest.approx((0.5 + 0.5) / (1.5 + 1))
    before = picker.success(0)
    picker.update(0, group(failed=2))
    assert picker.success(0) == before
    picker.update(0, group(True, failed=3))
    assert picker.success(0) > before


def test_weights_are_the_variance_of_success_and_never_below_the_floor() -> None:
    config = replace(UNCERTAIN, groups=1, group_size=2, minibatches=1, curriculum_floor=0.05)
    picker = TaskPicker(TASKS, config, 3)
    for index in range(len(TASKS)):
        for _ in range(60):
            picker.update(index, group(True, False) if index == 1 else group(True, True))
    picked = Counter(picker.pick(iteration, 0, 1)[0] for iteration in range(4000))
    variance = picker.success(1) * (1 - picker.success(1))
    assert all(picker.success(i) * (1 - picker.success(i)) < 0.05 for i in range(len(TASKS)) if i != 1)
    expected = variance / (variance + 0.05 * (len(TASKS) - 1))
    assert picked[1] / 4000 == pytest.approx(expected, abs=0.03)
    assert min(picked.values()) > 0
    assert len(picked) == len(TASKS)


def test_without_a_floor_certain_tasks_still_leave_something_to_play() -> None:
    picker = TaskPicker(TASKS, replace(UNCERTAIN, curriculum_floor=0.0), 1)
    state = picker.state_dict()
    picker.load_state_dict({**state, "played": [0.5] * len(TASKS), "won": [1.0] * len(TASKS)})
    assert {picker.success(i) for i in range(len(TASKS))} == {1.0}
    assert len(picker.pick(0, 0, 3)) == 3
