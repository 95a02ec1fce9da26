import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossagent.algorithms import ADVANTAGES, gigpo_advantages, group_advantages, live_groups, overlong_penalty

NAN = math.nan


def adv(returns: list[float], group: list[int], **options: object) -> list[float]:
    return group_advantages(torch.tensor(returns), torch.tensor(group), **options).tolist()


@pytest.mark.parametrize("baseline", ["mean", "leave-one-out"])
@pytest.mark.parametrize("scale", ["none", "group", "batch", "whiten"])
def test_a_group_of_one_and_a_group_of_equals_give_exactly_zero(baseline: str, scale: str) -> None:
    got = adv([7.0, 0.1, 0.1, 0.1, 1.0, 0.0], [5, 2, 2, 2, 9, 9], baseline=baseline, scale=scale)
    assert got[:4] == [0.0] * 4
    assert got[4] > 0 > got[5]
    # In fp64 the mean of three times 0.1 is not 0.1: equal returns are recognised, not subtracted.
    tenths = torch.tensor([0.1, 0.1, 0.1, 1.0, 0.0], dtype=torch.float64)
    exact = group_advantages(tenths, torch.tensor([0, 0, 0, 1, 1]), baseline=baseline, scale=scale)
    assert exact[:3].tolist() == [0.0] * 3


def test_the_baseline_is_over_trajectories_not_over_their_turns() -> None:
    # 3 and 4 turns with returns 1 and 0 (verl-agent#138): over rows it would be +0.571 / -0.429.
    assert adv([1.0, 0.0], [0, 0]) == [0.5, -0.5]
    assert adv([1.0, 0.0], [0, 0], scale="group") == pytest.approx([0.70710678, -0.70710678], abs=2e-6)
    turns = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    rewards, anchor = torch.tensor([0, 0, 1.0, 0, 0, 0, 0]), torch.arange(7)
    for scale, size in (("none", 0.5), ("group", 0.70710678), ("batch", 0.70710678), ("whiten", 0.70710678)):
        for name, estimator in ADVANTAGES.items():
            got = estimator(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), rewards, turns, anchor, scale=scale)
            assert got.tolist() == pytest.approx([size] * 3 + [-size] * 4, abs=2e-6), (name, scale)


def test_a_dropped_member_enters_no_statistic_and_gets_nan() -> None:
    got = adv([1.0, 0.0, NAN, 1.0], [0, 0, 0, 0])
    assert got[:2] == pytest.approx([1 / 3, -2 / 3])
    assert math.isnan(got[2])
    assert adv([1.0, NAN], [0, 0])[0] == 0.0


def test_live_groups_names_the_three_reasons_to_drop() -> None:
    returns = torch.tensor([1.0, 0.5, 1.0, 1.0, -0.1, -0.2, 1.0, NAN, 0.9, 0.9, NAN, -1.0])
    group = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 0])
    success = torch.tensor([1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0]).bool()
    assert live_groups(returns, group, success).tolist() == [True, True] + [False] * 9 + [True]
    assert live_groups(returns, group, success, drop_all_fail=False).tolist()[4:6] == [True, True]
    kept = live_groups(returns, group, success, drop_zero_variance=False).tolist()
    assert kept == [True, True, True, True, False, False, False, False, True, True, False, True]


@pytest.mark.parametrize(("option", "value"), [("baseline", "median"), ("scale", "max")])
def test_unknown_names_are_refused_by_name(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=value):
        adv([1.0], [0], **{option: value})


def test_overlong_penalty_is_zero_then_linear_then_full() -> None:
    assert overlong_penalty(torch.tensor([10, 80, 90, 100, 130]), 100, 20).tolist() == [0.0, 0.0, -0.5, -1.0, -1.0]


returns_and_groups = st.lists(
    st.tuples(st.one_of(st.just(NAN), st.floats(-2, 2, width=32)), st.integers(0, 3)), min_size=1, max_size=24
)


@settings(deadline=None)
@given(
    returns_and_groups,
    st.sampled_from(["none", "mean", "leave-one-out"]),
    st.sampled_from(["none", "group", "batch"]),
    st.randoms(),
)
def test_order_and_position_do_not_matter(
    rows: list[tuple[float, int]], baseline: str, scale: str, rng: object
) -> None:
    order = list(range(len(rows)))
    rng.shuffle(order)
    options = {"baseline": baseline, "scale": scale, "eps": 1e-2}
    straight = adv([r for r, _ in rows], [g for _, g in rows], **options)
    shuffled = adv([rows[i][0] for i in order], [rows[i][1] + 40 for i in order], **options)
    torch.testing.assert_close(
        torch.tensor([straight[i] for i in order]), torch.tensor(shuffled), equal_nan=True, rtol=1e-5, atol=1e-6
    )


@settings(deadline=None)
@given(returns_and_groups)
def test_every_group_is_centred(rows: list[tuple[float, int]]) -> None:
    got = adv([r for r, _ in rows], [g for _, g in rows])
    for name in {g for _, g in rows}:
        members = [a for a, (r, g) in zip(got, rows, strict=True) if g == name and not math.isnan(r)]
        assert sum(members) == pytest.approx(0.0, abs=1e-5)


def test_gigpo_with_unique_anchors_is_the_episode_part_alone() -> None:
    got = gigpo_advantages(
        torch.tensor([1.0, 0.0]),
        torch.tensor([0, 0]),
        torch.tensor([0.0, 1.0, 0.0]),
        torch.tensor([0, 0, 1]),
        torch.tensor([0, 1, 2]),
    )
    assert got.tolist() == [0.5, 0.5, -0.5]
