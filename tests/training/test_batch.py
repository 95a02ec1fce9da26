from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossagent.envs.recording import Demonstration, DemoTurn
from crossagent.training.batch import (
    Row,
    collate,
    micro_batches,
    rows_from_demonstrations,
    rows_from_trajectories,
    split_over_ranks,
)
from crossagent.types import StopReason, Trajectory, Turn

EOT = 99


def turn(prompt: tuple[int, ...], response: tuple[int, ...], forced: int = 0, **more: object) -> Turn:
    logprobs = tuple(0.0 if k < forced else -0.5 - k for k in range(len(response)))
    return Turn(prompt, response, logprobs, forced=forced, **more)


def trajectory(*turns: Turn, **more: object) -> Trajectory:
    fields = {"task": "t", "category": "c", "env": "e", "seed": 0, "group": 0, "member": 0}
    return Trajectory(**{**fields, **more}, turns=turns, stop_reason=StopReason.max_turns, success=False)


APPEND = trajectory(
    turn((1, 2), (10, 11, EOT)),
    turn((1, 2, 10, 11, EOT, 3, 4), (12, EOT)),
    turn((1, 2, 10, 11, EOT, 3, 4, 12, EOT, 5), (13, 14)),
)


def test_turn_rows_train_exactly_what_was_sampled() -> None:
    rows = rows_from_trajectories([APPEND], [0.5])
    assert [row.input_ids[-3:] for row in rows] == [(10, 11, EOT), (4, 12, EOT), (5, 13, 14)]
    assert [row.trained_tokens for row in rows] == [3, 2, 2]
    assert rows[1].loss_mask == (False,) * 7 + (True, True)
    assert rows[1].advantages[-2:] == (0.5, 0.5)
    assert rows[1].turns == (-1,) * 7 + (1, 1)


def test_concatenated_row_leaves_environment_tokens_out_and_keeps_each_turns_own_advantage() -> None:
    (row,) = rows_from_trajectories([APPEND], [[0.1, 0.2, 0.3]], concatenate=True)
    assert row.input_ids == (1, 2, 10, 11, EOT, 3, 4, 12, EOT, 5, 13, 14)
    sampled = [i for i, m in enumerate(row.loss_mask) if m]
    assert sampled == [2, 3, 4, 7, 8, 10, 11]
    assert [row.advantages[i] for i in sampled] == [0.1] * 3 + [0.2] * 2 + [0.3] * 2
    assert [row.turns[i] for i in sampled] == [0, 0, 0, 1, 1, 2, 2]
    assert [row.sampler_logprobs[i] for i in sampled] == [-0.5, -1.5, -2.5, -0.5, -1.5, -0.5, -1.5]


def test_a_prompt_that_does_not_extend_the_ids_before_starts_a_new_row() -> None:
    retokenized = replace(APPEND.turns[1], prompt_ids=(1, 2, 77, EOT, 3, 4))
    rows = rows_from_trajectories([replace(APPEND, turns=(APPEND.turns[0], retokenized))], concatenate=True)
    assert [row.input_ids for row in rows] == [(1, 2, 10, 11, EOT), (1, 2, 77, EOT, 3, 4, 12, EOT)]
    assert rows[1].turns[-1] == 1


def test_forced_tokens_never_train() -> None:
    (row,) = rows_from_trajectories([trajectory(turn((1,), (7, 8, 10, EOT), forced=2))], [1.0])
    assert row.response_mask == row.loss_mask == (False, False, False, True, True)
    assert row.advantages == (0.0, 0.0, 0.0, 1.0, 1.0)


def test_dropped_and_filtered_trajectories_make_no_rows_and_keep_their_number() -> None:
    rows = rows_from_trajectories([APPEND] * 3, [float("nan"), 1.0, -1.0], train=[True, True, False])
    assert {row.trajectory for row in rows} == {1}


def test_padding_has_no_mask_even_where_a_token_equals_it() -> None:
    batch = collate(rows_from_trajectories([APPEND], [1.0]), pad_id=10)
    assert batch.input_ids[0].tolist() == [1, 2, 10, 11, EOT] + [10] * 11
    assert batch.attention_mask.sum(1).tolist() == [5, 9, 12]
    assert batch.loss_mask.sum(1).tolist() == [3, 2, 2]
    assert batch.loss_mask[0, 2]
    assert not batch.loss_mask[0, 5:].any()
    with pytest.raises(ValueError, match="no rows"):
        collate([], 0)


def test_a_row_refuses_to_train_what_was_not_sampled() -> None:
    (row,) = rows_from_trajectories([trajectory(turn((1,), (10, EOT)))])
    with pytest.raises(ValueError, match="not sampled"):
        replace(row, loss_mask=(True, True, True))
    with pytest.raises(ValueError, match="needs a prompt"):
        rows_from_trajectories([trajectory(turn((), (10, EOT)))])


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 200))
def test_micro_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    rows = rows_from_trajectories([trajectory(turn((1,) * n, (2,))) for n in lengths])
    batches = micro_batches(rows, budget)
    assert sorted(i for b in batches for i in b) == list(range(len(rows)))
    for batch in batches:
        width = collate([rows[i] for i in batch], 0).input_ids.shape[1]
        assert width % 16 == 0
        assert len(batch) == 1 or len(batch) * width <= budget


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=30),
    st.integers(50, 400),
)
def test_rows_that_share_a_beginning_stay_together_and_it_counts_once(
    kinds: list[tuple[int, int, int]], budget: int
) -> None:
    """Each row: which of four beginnings of 50 tokens, so many tokens of its own, so many that were sampled."""
    rows = rows_from_trajectories(
        [
            trajectory(turn((*range(100 * which, 100 * which + 50), *(1000 + k,) * own), (7,) * said))
            for k, (which, own, said) in enumerate(kinds)
        ]
    )
    for which in range(4):
        mine = [row for row, kind in zip(rows, kinds, strict=True) if kind[0] == which]
        for row in mine:
            assert row.shared <= row.response_mask.index(True), "what is sampled is nobody else's"
            assert (
                row.shared == 0
                or sum(other.input_ids[: row.shared] == row.input_ids[: row.shared] for other in mine) > 1
            )
    batches = micro_batches(rows, budget, shared=True)
    assert sorted(i for b in batches for i in b) == list(range(len(rows)))
    for batch in batches:
        families: dict[tuple[int, ...], list[int]] = {}
        for i in batch:
            families.setdefault(rows[i].input_ids[: rows[i].shared], []).append(len(rows[i]) - rows[i].shared)
        padded = sum(len(start) + len(rests) * -(-max(rests) // 16) * 16 for start, rests in families.items())
        assert len(batch) == 1 or padded <= budget


def test_a_family_that_fits_a_batch_is_not_torn() -> None:
    played = [trajectory(turn((*range(100 * g, 100 * g + 96), 7), (8,) * 15)) for g in range(3) for _ in range(4)]
    rows = rows_from_trajectories(played)  # 97 tokens are shared, 15 are not: 97 + 4 · 16 = 161 a family
    assert {row.shared for row in rows} == {97}
    families = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert micro_batches(rows, 300, shared=True) == families
    assert micro_batches(rows, 330, shared=True) == [[*families[0], *families[1]], families[2]]
    assert [len(batch) for batch in micro_batches(rows, 130, shared=True)] == [2] * 6, "one that does not fit is"


def computed(rows: list[Row], own: list[int]) -> int:
    """Tokens that a rank computes of these rows, each padded by itself."""
    starts = {rows[i].input_ids[: rows[i].shared] for i in own}
    return sum(map(len, starts)) + sum(-(-(len(rows[i]) - rows[i].shared) // 16) * 16 for i in own)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=60),
    st.integers(1, 5),
)
def test_ranks_are_dealt_every_row_once_and_about_as_much_each(kinds: list[tuple[int, int, int]], size: int) -> None:
    rows = rows_from_trajectories(
        [
            trajectory(turn((*range(100 * which, 100 * which + 50), *(1000 + k,) * own), (7,) * said))
            for k, (which, own, said) in enumerate(kinds)
        ]
    )
    ranks = split_over_ranks(rows, size, shared=True)
    assert len(ranks) == size
    assert sorted(i for own in ranks for i in own) == list(range(len(rows)))
    assert all(own == sorted(own) for own in ranks)
    load = [computed(rows, own) for own in ranks]
    piece = max(sum(load) / size / 4, 50 + 96)  # or one row
    assert max(load) - min(load) <= 2 * piece + 50


def test_ranks_compute_a_beginning_once_unless_it_is_that_of_almost_all() -> None:
    played = [trajectory(turn((*range(100 * g, 100 * g + 96), 7), (8,) * 15)) for g in range(8) for _ in range(4)]
    rows = rows_from_trajectories(played)
    one, other = split_over_ranks(rows, 2, shared=True)
    assert {i // 4 for i in one}.isdisjoint({i // 4 for i in other})
    assert len(one) == len(other) == 16
    alike = rows_from_trajectories([trajectory(turn((*range(96), 7), (8,) * 15)) for _ in range(16)])
    assert [len(own) for own in split_over_ranks(alike, 2, shared=True)] == [8, 8]
    assert [len(own) for own in split_over_ranks(rows, 2)] == [16, 16], "of a policy that does not pack"
    assert split_over_ranks(rows, 1, shared=True) == [list(range(32))]
    assert split_over_ranks(rows[:1], 3, shared=True) == [[0], [], []]


def test_what_is_shared_is_what_saves_most() -> None:
    system, task, other = tuple(range(100)), tuple(range(200, 300)), tuple(range(300, 340))
    prompts = [(*system, *task, 1), (*system, *task, 2), (*system, *other, 3), (5, 6, 7), (*system, *task, 4)]
    rows = rows_from_trajectories([trajectory(turn(prompt, (9, EOT))) for prompt in prompts])
    # All four at 100 tokens would save 300; the three at 200 save 400.
    assert [row.shared for row in rows] == [200, 200, 0, 0, 200]
    few = rows_from_trajectories([trajectory(turn((1, 2, 3), (9, EOT))) for _ in range(8)])
    assert [row.shared for row in few] == [0] * 8, "not worth it"
    alike = rows_from_trajectories([trajectory(turn(system, (1, EOT))) for _ in range(3)])
    assert [row.shared for row in alike] == [100] * 3
    assert collate(alike, 0).shared.tolist() == [100] * 3


class Prompt:
    """Writes ids one can read: 1000 + number of spaces, history, observation length."""

    def prompt_ids(self, instruction: str, spaces: tuple[str, ...], history: list, observation: str) -> tuple[int, ...]:
        past = tuple(i for seen, response in history for i in (len(seen), *response))
        return (1000 + len(spaces), *past, len(observation))

    def response_ids(self, text: str, space: str) -> tuple[int, ...]:
        return (ord(space[0]), len(text), EOT)

    def forced_ids(self, space: str) -> tuple[int, ...]:
        return (ord(space[0]),)

    def decode(self, response_ids: tuple[int, ...]) -> str:
        raise AssertionError("only an action of several parts is decoded")


def test_demonstrations_train_actions_and_not_a_header_that_playing_would_force() -> None:
    turns = (DemoTurn("aa", "api: x", "api"), DemoTurn("bbb", "gui: yy", "gui"))
    demo = Demonstration("t", "c", 0, ("api", "gui"), turns, True, "mixed", "do it")
    rows = rows_from_demonstrations([demo], Prompt())
    assert [row.input_ids for row in rows] == [(1002, 2, 97, 6, EOT), (1002, 2, 97, 6, EOT, 3, 103, 7, EOT)]
    assert [row.trained_tokens for row in rows] == [3, 3]
    assert [row.space for row in rows] == ["api", "gui"]
    (whole,) = rows_from_demonstrations([demo], Prompt(), concatenate=True)
    assert whole.trained_tokens == 6
    (last,) = rows_from_demonstrations([demo], Prompt(), last_only=True)
    assert last == replace(rows[1], turns=last.turns)
    single = rows_from_demonstrations([replace(demo, spaces=("api",), turns=turns[:1])], Prompt())
    assert single[0].loss_mask == (False, False, False, True, True)
