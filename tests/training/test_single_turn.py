"""The reward of STRL: r(â, a*) = 1 where both come to the same raw ticks, whatever space they are written in."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from training_kit import SPACES, toy_pool, toy_tasks

from crossagent.demonstrations.collect import collect
from crossagent.envs.recording import Demonstration
from crossagent.envs.workers.pool import WorkerPool
from crossagent.errors import RecipeError
from crossagent.plugin import SamplingParams
from crossagent.testing import ScriptedSampler
from crossagent.training.config import RelabelConfig, StrlConfig
from crossagent.training.relabel import balanced, relabel
from crossagent.training.single_turn import State, agreement, choose_states, score_responses
from crossagent.training.sources import StrlSource
from crossagent.types import RawTick

EOT = 0
SAME_ELSEWHERE = "Action: press(e)"
RIGHT = ["Gui: press(e)", SAME_ELSEWHERE]
WRONG = ["Action: press(d)", "Action: no_op", "Gui: press(escape)", "Action: press(", "no header"]


class Letters:
    """A prompt format whose token ids are characters."""

    headers = {"api": "Api:", "gui": "Gui:", "control": "Action:"}  # noqa: RUF012 - a protocol's plain attribute

    def prompt_ids(self, instruction: str, spaces: Sequence[str], history: object, observation: str) -> tuple[int, ...]:
        return tuple(map(ord, f"{instruction}|{','.join(spaces)}|{observation}"))

    def response_ids(self, text: str, space: str) -> tuple[int, ...]:
        return (*map(ord, text), EOT)

    def forced_ids(self, space: str) -> tuple[int, ...]:
        return tuple(map(ord, self.headers[space]))

    def grammar(self, spaces: Sequence[str]) -> str:
        return ""

    def decode(self, response_ids: Sequence[int]) -> str:
        return "".join(chr(i) for i in response_ids if i != EOT)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with toy_pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def demos(pool: WorkerPool) -> list[Demonstration]:
    return collect(
        pool, toy_tasks() + toy_tasks("demo"), episodes=60, mixture={"gui": 1, "control": 1, "mixed": 1}, seed=0
    )


@pytest.fixture(scope="module")
def opening(demos: list[Demonstration]) -> State:
    """A state in which the expert opens the window: one raw tick, which the keyboard can make too."""
    return next(State(d, i) for d in demos for i, turn in enumerate(d.turns) if turn.text == RIGHT[0])


def rewards(state: State, texts: list[str], pool: WorkerPool, longest: int = 99, horizon: int = 1) -> tuple[float, ...]:
    tasks = {task.name: task for task in toy_tasks() + toy_tasks("demo")}
    sampler = ScriptedSampler(texts, eot_id=EOT, encode=lambda text: tuple(map(ord, text)))
    judged, dropped = score_responses(
        [state], len(texts), tasks=tasks, spaces=SPACES, pool=pool, sampler=sampler, prompt=Letters(),
        params=SamplingParams(1.0, longest), horizon=horizon, seed=0, step=0,
    )  # fmt: skip
    assert dropped == 0
    assert judged[0].texts == tuple(text[:longest] for text in texts)
    return judged[0].rewards


def test_the_same_ticks_earn_the_reward_in_any_space_and_others_do_not(opening: State, pool: WorkerPool) -> None:
    assert rewards(opening, RIGHT + WRONG, pool) == (1.0,) * len(RIGHT) + (0.0,) * len(WRONG)


def test_a_response_that_was_cut_earns_nothing(opening: State, pool: WorkerPool) -> None:
    assert rewards(opening, [RIGHT[0]], pool, longest=len(RIGHT[0]) + 1) == (1.0,)
    assert rewards(opening, [RIGHT[0]], pool, longest=len(RIGHT[0])) == (0.0,)


def test_as_many_ticks_are_compared_as_the_horizon_says(opening: State, pool: WorkerPool) -> None:
    """A gesture presses the key for one tick, a control action holds it for four."""
    opened = rewards(opening, RIGHT, pool, horizon=2)
    assert opened == (1.0, 0.0)


def test_what_fails_is_not_right_where_waiting_is(demos: list[Demonstration], pool: WorkerPool) -> None:
    demo = next(d for d in demos if d.task == "catch:bug")
    waiting = replace(demo, turns=(replace(demo.turns[0], text="Action: no_op", space="control"), *demo.turns[1:]))
    texts = ["Action: no_op", "Api: goto(bug)", "Api: take(bug)", "Action: press(d)"]
    assert rewards(State(waiting, 0), texts, pool) == (1.0, 0.0, 0.0, 0.0)


def test_agreement_is_the_share_of_raw_parts_in_common() -> None:
    walk, click = RawTick(keys=("d",)), RawTick(keys=("d",), buttons=("left",), camera=(4, 0))
    assert agreement([walk], [walk]) == agreement([], [RawTick()]) == 1.0
    assert agreement([walk], [click]) == 1 / 3
    assert agreement([walk], [RawTick(keys=("a",))]) == agreement([walk], []) == 0.0
    assert agreement([walk, walk], [walk]) == 1 / 2, "tick by tick"
    assert agreement([RawTick(camera=(4, 0))], [RawTick(camera=(4, 2))]) == 0.0


def test_partial_credit_tells_wrong_responses_apart_and_never_reaches_the_right_one(
    demos: list[Demonstration], pool: WorkerPool
) -> None:
    said = [
        "Action: press(d) and click(left)",
        "Action: press(a)",
        "Action: press(d)",
        "Action: press(",
        "Action: no_op",
    ]
    sampler = ScriptedSampler(said, eot_id=EOT, encode=lambda text: tuple(map(ord, text)))
    shown = [d for d in demos if any(t.text == said[0] for t in d.turns)]
    only = [
        replace(d, turns=tuple(replace(t, error="" if t.text == said[0] else "skip") for t in d.turns)) for d in shown
    ]
    common = {
        "tasks": toy_tasks(),
        "spaces": SPACES,
        "pool": pool,
        "prompt": Letters(),
        "max_new_tokens": 99,
        "seed": 0,
    }
    played = []
    for credit in (0.0, 0.4):
        config = StrlConfig(
            groups=1, group_size=5, partial_credit=credit, drop_all_fail=False, minibatches=1, invalid_penalty=0.1
        )
        sampler = ScriptedSampler(said, eot_id=EOT, encode=lambda text: tuple(map(ord, text)))
        played.append(StrlSource(config, demonstrations=only, sampler=sampler, **common).play(0))
    right_or_wrong, graded = ([r for (r,) in p.rewards] for p in played)
    assert right_or_wrong == [1.0, 0.0, 0.0, -0.1, 0.0]
    assert graded == pytest.approx([1.0, 0.0, 0.4 / 2, -0.1, 0.0])
    assert [t.success for t in played[1].trajectories] == [True, False, False, False, False]
    with pytest.raises(RecipeError, match="partial_credit: needs drop_all_fail: false"):
        StrlConfig(partial_credit=0.4)
    with pytest.raises(RecipeError, match="partial_credit: got 1"):
        StrlConfig(partial_credit=1.0, drop_all_fail=False)


def test_states_are_even_over_spaces_and_never_a_failed_action(demos: list[Demonstration]) -> None:
    chosen = choose_states(demos, 20, seed=3)
    counts = Counter(state.space for state in chosen)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({(id(s.demonstration), s.turn) for s in chosen}) == 20
    broken = [replace(d, turns=tuple(replace(t, error="no") for t in d.turns)) for d in demos]
    assert choose_states(broken, 20, seed=3) == []


def test_relabelling_takes_what_is_right_and_keeps_the_expert_elsewhere(opening: State, pool: WorkerPool) -> None:
    demo = replace(opening.demonstration, turns=opening.demonstration.turns[: opening.turn + 1])
    earlier = replace(demo, turns=tuple(replace(t, error="skip") for t in demo.turns[:-1]) + demo.turns[-1:])
    tasks = {task.name: task for task in toy_tasks() + toy_tasks("demo")}
    for said, expected, moved in ((SAME_ELSEWHERE, SAME_ELSEWHERE, 1), (WRONG[0], RIGHT[0], 0)):
        sampler = ScriptedSampler([said], eot_id=EOT, encode=lambda text: tuple(map(ord, text)))
        result, stats = relabel(
            [earlier], RelabelConfig(states=1, samples=1), tasks=tasks, spaces=SPACES, pool=pool, sampler=sampler,
            prompt=Letters(), params=SamplingParams(1.0, 99), seed=0,
        )  # fmt: skip
        assert (result[0].turns[-1].text, result[0].spaces) == (expected, SPACES)
        assert (stats.states, stats.accepted, stats.moved) == (1, moved, moved)


@pytest.mark.parametrize(("balance", "after"), [(2.0, {"control": 6, "gui": 3}), (0.0, {"control": 12, "gui": 3})])
def test_what_is_relabelled_is_balanced(
    demos: list[Demonstration], pool: WorkerPool, balance: float, after: dict[str, int]
) -> None:
    left = {"control": 12, "gui": 3}
    few = []
    for demo in demos:
        turns = []
        for turn in demo.turns:
            wanted = not turn.error and left.get(turn.space, 0) > 0
            left[turn.space] = left.get(turn.space, 0) - wanted
            turns.append(turn if wanted else replace(turn, error="not this one"))
        few.append(replace(demo, turns=tuple(turns)))
    sampler = ScriptedSampler(["no action"] * 15, eot_id=EOT, encode=lambda text: tuple(map(ord, text)))
    result, stats = relabel(
        few, RelabelConfig(states=99, samples=1, balance=balance), tasks={t.name: t for t in toy_tasks() + toy_tasks("demo")},
        spaces=SPACES, pool=pool, sampler=sampler, prompt=Letters(), params=SamplingParams(1.0, 99), seed=0,
    )  # fmt: skip
    assert (stats.states, stats.before) == (15, {"control": 12, "gui": 3})
    assert stats.after == after == Counter(demo.turns[-1].space for demo in result)
    assert stats.kept == len(result)


def test_no_space_keeps_more_than_its_share(demos: list[Demonstration]) -> None:
    by_space = {s: [d for d in demos if d.turns[-1].space == s] for s in ("gui", "control")}
    rows = by_space["control"][:9] + by_space["gui"][:3]
    kept = Counter(d.turns[-1].space for d in balanced(rows, 2.0, seed=0))
    assert kept == {"control": 6, "gui": 3}
    assert balanced(rows, 0, seed=0) == rows
