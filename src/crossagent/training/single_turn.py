"""Single turns from demonstrated states: what STRL and relabelling share.

A state is a demonstration's turn: the world is replayed to it from (task, seed) and the actions before. A response is right
when its first ``horizon`` raw ticks equal those of the demonstrated action, whatever space either is written in
(arXiv 2512.09706: r(â, a*) = 1[g(â) = g(a*)]).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossagent.distributed import ALONE, Ranks
from crossagent.envs.recording import Demonstration, images_of
from crossagent.envs.workers.pool import EnvFailure, WorkerPool
from crossagent.envs.world import LoweredAction
from crossagent.plugin import Sample, Sampler, SampleRequest, SamplingParams
from crossagent.rollout.explore import draw_space
from crossagent.rollout.loop import PromptLike, Timing, forget, space_openings, written
from crossagent.seeding import derive, rng
from crossagent.types import RawTick, Task


@dataclass(frozen=True, slots=True)
class State:
    """One demonstrated decision."""

    demonstration: Demonstration
    turn: int

    @property
    def expert_text(self) -> str:
        """The demonstrated action a*."""
        return self.demonstration.turns[self.turn].text

    @property
    def space(self) -> str:
        """The space a* is written in."""
        return self.demonstration.turns[self.turn].space

    @property
    def prefix(self) -> tuple[str, ...]:
        """The actions that lead here from the start of the episode."""
        return self.demonstration.texts[: self.turn]

    @property
    def observation(self) -> str:
        """What the policy sees here."""
        return self.demonstration.turns[self.turn].observation


@dataclass(frozen=True, slots=True)
class ScoredState:
    """The responses to one state, compared with its demonstrated action."""

    state: State
    requests: tuple[SampleRequest, ...]
    samples: tuple[Sample, ...]
    texts: tuple[str, ...]
    demonstrated: LoweredAction
    """What a* comes down to."""
    lowered: tuple[LoweredAction, ...]
    """What each response comes down to."""
    rewards: tuple[float, ...]
    """1.0 where g(â) = g(a*), else 0.0."""

    def agreement(self, member: int) -> float:
        """Return how far a response agrees with a*, 0 to 1; 0 where one of them is no action."""
        own, right = self.lowered[member].ticks, self.demonstrated.ticks
        return agreement(own, right) if own is not None and right is not None else 0.0


def choose_states(demonstrations: Sequence[Demonstration], number: int, seed: int) -> list[State]:
    """Draw ``number`` demonstrated turns without repetition, evenly over the spaces they are written in.

    Returns fewer when there are fewer. Turns whose action failed are left out: they are nothing to imitate.
    """
    by_space: dict[str, list[State]] = {}
    for demonstration in demonstrations:
        for index, turn in enumerate(demonstration.turns):
            if not turn.error:
                by_space.setdefault(turn.space, []).append(State(demonstration, index))
    for space in sorted(by_space):
        rng(seed, "states", space).shuffle(by_space[space])
    queues = [by_space[space] for space in sorted(by_space)]
    chosen: list[State] = []
    while len(chosen) < number and any(queues):
        for queue in queues:
            if queue and len(chosen) < number:
                chosen.append(queue.pop())
    return chosen


def score_responses(
    states: Sequence[State],
    samples_each: int,
    *,
    tasks: Mapping[str, Task],
    spaces: tuple[str, ...],
    pool: WorkerPool,
    sampler: Sampler,
    prompt: PromptLike,
    params: SamplingParams,
    horizon: int,
    seed: int,
    step: int,
    explore: int = 0,
    timing: Timing | None = None,
    ranks: Ranks = ALONE,
) -> tuple[list[ScoredState], int]:
    """Sample ``samples_each`` responses per state and judge them.

    Args:
        states: Demonstrated turns.
        samples_each: Responses per state.
        tasks: Every task by name.
        spaces: What the prompt lists: all spaces of the run, whatever space a* is written in.
        pool: Worlds that replay and lower.
        sampler: The policy's.
        prompt: Writes prompts, reads responses.
        params: How to sample.
        horizon: H, raw ticks compared.
        seed: The run's.
        step: Of the run; each response's seed derives from (seed, step, state, member, 0).
        explore: The first so many samples of each state are in a space drawn uniformly.
        timing: Counters to add to.
        ranks: The processes among which the states are dealt out; all get what all of them judged.

    Returns:
        (The judged states in order, the number of states whose world broke; those are dropped.)
    """
    mine = ranks.local_items(list(enumerate(states)))
    requests = [
        [
            SampleRequest(
                prompt_ids=ids,
                images=images,
                seed=derive(seed, "sample", step, index, member, 0),
                forced_ids=_header(spaces, prompt, member < explore, (seed, step, index, member, 0)),
                watched_ids=() if member < explore else space_openings(prompt, spaces),
                grammar=prompt.grammar(spaces),
            )
            for member in range(samples_each)
        ]
        for index, state in mine
        for ids, images in [_prompt(state, spaces, prompt)]
    ]
    timing = timing or Timing()
    begun = time.perf_counter()
    forget(sampler)
    flat = sampler.sample([request for group in requests for request in group], params) if mine else []
    forget(sampler)
    timing.generate_s += time.perf_counter() - begun
    samples = [flat[i * samples_each : (i + 1) * samples_each] for i in range(len(mine))]
    texts = [[prompt.decode(sample.response_ids) for sample in group] for group in samples]
    begun = time.perf_counter()
    answers = pool.spread(
        "lower",
        [
            (
                tasks[state.demonstration.task],
                state.demonstration.seed,
                state.prefix,
                (state.expert_text, *group),
                horizon,
            )
            for (_, state), group in zip(mine, texts, strict=True)
        ],
    )
    timing.environment_s += time.perf_counter() - begun
    done = ranks.gather_in_order(zip(requests, samples, texts, answers, strict=True))
    judged, dropped = [], 0
    for state, (request, group, said, answer) in zip(states, done, strict=True):
        if isinstance(answer, EnvFailure):
            dropped += 1
            continue
        expert, *lowered = answer
        lowered = [
            low._replace(ticks=None, invalid="cut at the token limit") if sample.finish_reason == "length" else low
            for low, sample in zip(lowered, group, strict=True)
        ]
        rewards = tuple(
            1.0 if low.ticks is not None and expert.ticks is not None and low.ticks == expert.ticks else 0.0
            for low in lowered
        )
        judged.append(ScoredState(state, tuple(request), tuple(group), tuple(said), expert, tuple(lowered), rewards))
    return judged, dropped


def agreement(ticks: Sequence[RawTick], other: Sequence[RawTick]) -> float:
    """Return the share of two actions' raw parts that they have in common, 0 to 1: intersection over union.

    A part is a key, a button or a mouse movement of one tick; two actions that do nothing agree.
    """

    def parts(sequence: Sequence[RawTick]) -> set[tuple[object, ...]]:
        found: set[tuple[object, ...]] = set()
        for at, raw in enumerate(sequence):
            found |= {(at, "key", key) for key in raw.keys} | {(at, "button", button) for button in raw.buttons}
            if raw.camera != (0, 0):
                found.add((at, "camera", raw.camera))
        return found

    one, two = parts(ticks), parts(other)
    return len(one & two) / len(one | two) if one | two else 1.0


def _header(spaces: tuple[str, ...], prompt: PromptLike, explore: bool, place: tuple[int, ...]) -> tuple[int, ...]:
    """Return the header that is not the policy's to choose: of the only space, or of one drawn uniformly."""
    if len(spaces) == 1:
        return prompt.forced_ids(spaces[0])
    return prompt.forced_ids(draw_space(spaces, *place)) if explore else ()


def _prompt(state: State, spaces: tuple[str, ...], prompt: PromptLike) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
    """Return the prompt of a state, and its pictures; its history is the demonstration's own turns."""
    turns = state.demonstration.turns[: state.turn]
    history = [(turn.observation, prompt.response_ids(turn.text, turn.space)) for turn in turns]
    images = images_of(state.demonstration.turns[: state.turn + 1])
    return written(prompt, state.demonstration.instruction, spaces, history, state.observation, images)
