"""The turn loop: episodes in, trajectories out.

All living episodes take their turns in lock-step: one batch of prompts is sampled, then every world acts. Which rows a
batch holds follows from the episodes and the number of worlds alone, each row is sampled with a seed of its own, and a
world's result depends on nothing but its episode: so trajectories are the same for any number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from crossagent.envs.worker import EnvFailure, WorkerPool
from crossagent.envs.world import Acted
from crossagent.plugin import Sample, Sampler, SampleRequest, SamplingParams
from crossagent.rollout.explore import draw_space, header_logprobs
from crossagent.rollout.images import png
from crossagent.rollout.segments import token_segments
from crossagent.seeding import derive
from crossagent.spaces import CostRule
from crossagent.types import Group, Observation, StopReason, Task, Trajectory, Turn

CUT = "cut at the token limit"
"""Why the last turn of a trajectory that ended with ``StopReason.cut`` is invalid."""


class PromptLike(Protocol):
    """What the loop needs of :class:`crossagent.policy.prompt.PromptFormat`."""

    headers: dict[str, str]

    def prompt_ids(
        self,
        instruction: str,
        spaces: Sequence[str],
        history: Sequence[tuple[str, tuple[int, ...]]],
        observation: str,
    ) -> tuple[int, ...]:
        """Return the ids a response continues."""

    def response_ids(self, text: str, space: str) -> tuple[int, ...]:
        """Return the ids of a response that is given as text: header, rest, end of turn."""

    def forced_ids(self, space: str) -> tuple[int, ...]:
        """Return the ids of a space's header."""

    def decode(self, response_ids: Sequence[int]) -> str:
        """Return the text of a response without its end-of-turn token."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode to play."""

    task: Task
    seed: int
    """Of the world; equal within a group."""
    group: int
    member: int
    spaces: tuple[str, ...]
    """The spaces that the prompt lists and that may be used. With a single one its header is given, not sampled."""
    explore: int | None = None
    """The turn whose space is drawn uniformly, if the episode lasts so long; see :mod:`crossagent.rollout.explore`."""


@dataclass
class Timing:
    """Where the time of :func:`play` went, in seconds; adds up over calls."""

    generate_s: float = 0.0
    environment_s: float = 0.0
    turns: int = 0
    sampled_tokens: int = 0


class _Live:
    """An episode in progress."""

    def __init__(self, episode: Episode, slot: int) -> None:
        self.episode, self.slot = episode, slot
        self.turns: list[Turn] = []
        self.history: list[tuple[str, tuple[int, ...]]] = []
        self.observation = self.anchor_key = self.state_hash = ""
        self.image = b""
        self.success = False

    @property
    def exploring(self) -> bool:
        """Whether the space of this turn is drawn uniformly."""
        return self.episode.explore == len(self.turns) and len(self.episode.spaces) > 1

    def see(self, observation: Observation) -> None:
        self.observation = observation.text
        self.image = b"" if observation.image is None else png(observation.image)

    def finish(self, reason: StopReason, failure: str = "") -> Trajectory:
        episode = self.episode
        return Trajectory(
            task=episode.task.name,
            category=episode.task.category,
            env=episode.task.env,
            seed=episode.seed,
            group=episode.group,
            member=episode.member,
            turns=tuple(self.turns),
            stop_reason=reason,
            success=self.success and reason is not StopReason.failure,
            state_hash=self.state_hash,
            spaces=episode.spaces,
            failure=failure,
            instruction=episode.task.instruction,
        )


def play(
    episodes: Sequence[Episode],
    *,
    pool: WorkerPool,
    sampler: Sampler,
    prompt: PromptLike,
    params: SamplingParams,
    seed: int,
    step: int,
    progress: Callable[[Sequence[Trajectory]], None] | None = None,
    timing: Timing | None = None,
) -> list[Trajectory]:
    """Play episodes to their end and return one trajectory each, sorted by (group, member).

    A world that breaks ends its trajectory with ``StopReason.failure``; nothing is retried, the caller drops and counts
    (:func:`groups_of`).

    Args:
        episodes: Any number; those that find no free world begin when one ends. (group, member) pairs are unique.
        pool: The worlds.
        sampler: Called once per turn with all living episodes, in the order of ``episodes``.
        prompt: Writes prompts and reads responses.
        params: How to sample.
        seed: The run's.
        step: Of the run; each response's seed derives from (seed, step, group, member, turn).
        progress: Called with the trajectories that have just ended, failures included.
        timing: Counters to add to.
    """
    keys = [(e.group, e.member) for e in episodes]
    if len(set(keys)) != len(keys):
        raise ValueError("play: two episodes have the same (group, member); their responses would share seeds")
    timing = timing or Timing()
    forget(sampler)
    waiting, free = list(reversed(episodes)), list(range(pool.slots - 1, -1, -1))
    live: list[_Live] = []
    done: list[Trajectory] = []
    while live or waiting:
        ended: list[Trajectory] = []
        begun = [_Live(waiting.pop(), free.pop()) for _ in range(min(len(waiting), len(free)))]
        survivors = _begin(begun, pool, timing, ended)
        free += [s.slot for s in reversed(begun) if s not in survivors]
        live += survivors
        samples = _sample(live, sampler, prompt, params, seed, step, timing)
        going = _act(live, samples, pool, prompt, timing, ended)
        free += [s.slot for s in reversed(live) if s not in going]
        live = going
        done += ended
        if progress is not None and ended:
            progress(ended)
    forget(sampler)
    return sorted(done, key=lambda t: (t.group, t.member))


def forget(sampler: Sampler) -> None:
    """Let a sampler that keeps something between turns drop it: what is played depends on nothing that came before."""
    drop = getattr(sampler, "forget", None)
    if drop is not None:
        drop()


def space_openings(prompt: PromptLike, spaces: Sequence[str]) -> tuple[int, ...]:
    """Return the first token of each space's header, in order: their log-probs are those of choosing a space.

    Empty where there is nothing to choose, or two headers open with the same token.
    """
    openings = tuple(prompt.forced_ids(space)[0] for space in spaces) if len(spaces) > 1 else ()
    return openings if len(set(openings)) == len(openings) else ()


def groups_of(trajectories: Sequence[Trajectory], smallest: int = 2) -> tuple[list[Group], int]:
    """Return the groups without their failed members, sorted, and the number of groups that were dropped whole.

    A group goes on with the members it has left; one with fewer than ``smallest`` has no baseline and is dropped.

    Raises:
        ValueError: Members of a group started from different states.
    """
    by_group: dict[int, list[Trajectory]] = {}
    for trajectory in sorted(trajectories, key=lambda t: (t.group, t.member)):
        by_group.setdefault(trajectory.group, []).append(trajectory)
    groups, dropped = [], 0
    for _, members in sorted(by_group.items()):
        kept = tuple(t for t in members if t.stop_reason is not StopReason.failure)
        if len(kept) < smallest:
            dropped += 1
        else:
            groups.append(Group(kept[0].task, kept[0].seed, kept))
    return groups, dropped


def _begin(begun: list[_Live], pool: WorkerPool, timing: Timing, ended: list[Trajectory]) -> list[_Live]:
    """Reset the worlds of new episodes; return those that started."""
    if not begun:
        return []
    before = time.perf_counter()
    answers = pool.call_many("reset", [(s.slot, (s.episode.task, s.episode.seed)) for s in begun])
    timing.environment_s += time.perf_counter() - before
    started = []
    for state, answer in zip(begun, answers, strict=True):
        if isinstance(answer, EnvFailure):
            ended.append(state.finish(StopReason.failure, str(answer)))
            continue
        state.see(answer.observation)
        state.state_hash, state.anchor_key = answer.state_hash, answer.anchor_key
        started.append(state)
    return started


def _sample(
    live: list[_Live],
    sampler: Sampler,
    prompt: PromptLike,
    params: SamplingParams,
    seed: int,
    step: int,
    timing: Timing,
) -> list[tuple[SampleRequest, Sample]]:
    """Sample one response for each living episode."""
    if not live:
        return []
    before = time.perf_counter()
    requests = [
        SampleRequest(
            prompt_ids=prompt.prompt_ids(s.episode.task.instruction, s.episode.spaces, s.history, s.observation),
            seed=derive(seed, "sample", step, s.episode.group, s.episode.member, len(s.turns)),
            forced_ids=_header(s, prompt, seed, step),
            watched_ids=() if s.exploring else space_openings(prompt, s.episode.spaces),
        )
        for s in live
    ]
    samples = sampler.sample(requests, params)
    timing.generate_s += time.perf_counter() - before
    timing.turns += len(samples)
    timing.sampled_tokens += sum(len(s.response_ids) for s in samples) - sum(len(r.forced_ids) for r in requests)
    return list(zip(requests, samples, strict=True))


def _header(state: _Live, prompt: PromptLike, seed: int, step: int) -> tuple[int, ...]:
    """Return the header that is not the policy's to choose in this turn: of the only space, or of the one to explore."""
    episode = state.episode
    if len(episode.spaces) == 1:
        return prompt.forced_ids(episode.spaces[0])
    if not state.exploring:
        return ()
    return prompt.forced_ids(draw_space(episode.spaces, seed, step, episode.group, episode.member, len(state.turns)))


def _act(
    live: list[_Live],
    samples: list[tuple[SampleRequest, Sample]],
    pool: WorkerPool,
    prompt: PromptLike,
    timing: Timing,
    ended: list[Trajectory],
) -> list[_Live]:
    """Let every world do what its policy said; return the episodes that go on."""
    texts = [prompt.decode(sample.response_ids) for _, sample in samples]
    jobs = [
        (s.slot, (text, s.episode.spaces))
        for s, text, (_, sample) in zip(live, texts, samples, strict=True)
        if sample.finish_reason == "stop"
    ]
    before = time.perf_counter()
    answers = iter(pool.call_many("act", jobs) if jobs else [])
    timing.environment_s += time.perf_counter() - before
    going = []
    for state, text, (request, sample) in zip(live, texts, samples, strict=True):
        cut = sample.finish_reason == "length"
        answer: Acted | EnvFailure | None = None if cut else next(answers)
        if isinstance(answer, EnvFailure):
            ended.append(state.finish(StopReason.failure, str(answer)))
            continue
        state.turns.append(_turn(state, request, sample, text, answer, prompt, pool.config.costs))
        reason = _stop(state, answer)
        if answer is not None:
            state.success = answer.success
            state.history.append((state.observation, sample.response_ids))
            state.see(answer.observation)
            state.anchor_key = answer.anchor_key
        if reason is None:
            going.append(state)
        else:
            ended.append(state.finish(reason))
    return going


def _stop(state: _Live, acted: Acted | None) -> StopReason | None:
    """Return why the episode is over, None when it goes on. The four endings are kept apart here."""
    if acted is None:
        return StopReason.cut
    if acted.terminated:
        return StopReason.terminated
    if acted.truncated:
        return StopReason.max_ticks
    return StopReason.max_turns if len(state.turns) >= state.episode.task.max_turns else None


def said(
    request: SampleRequest, sample: Sample, prompt: PromptLike, explored_from: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a turn holds of its response: ids, log-probs, and whose choice its header was.

    Args:
        request: What was asked.
        sample: What was answered.
        prompt: Knows the headers.
        explored_from: The spaces from which the header was drawn uniformly; empty: it was given, or the policy's.
    """
    given, logprobs = len(request.forced_ids), sample.logprobs
    if explored_from:
        headers = {space: prompt.forced_ids(space) for space in explored_from}
        drawn = next(space for space, header in headers.items() if header == request.forced_ids)
        logprobs = (*header_logprobs(headers, drawn), *logprobs[given:])
    return {
        "prompt_ids": request.prompt_ids,
        "response_ids": sample.response_ids,
        "sampler_logprobs": logprobs,
        "finish_reason": sample.finish_reason,
        "forced": 0 if explored_from else given,
        "explored": given if explored_from else 0,
    }


def _turn(
    state: _Live,
    request: SampleRequest,
    sample: Sample,
    text: str,
    acted: Acted | None,
    prompt: PromptLike,
    costs: Mapping[str, CostRule],
) -> Turn:
    common = {
        **said(request, sample, prompt, state.episode.spaces if state.exploring else ()),
        "observation": state.observation,
        "text": text,
        "anchor_key": state.anchor_key,
        "space_logprobs": sample.watched_logprobs,
        "image": state.image,
    }
    if acted is None:
        space = next((name for name, header in prompt.headers.items() if text.startswith(header)), None)
        return Turn(**common, space=space, invalid=CUT)
    priced = costs.get(acted.space or "")
    tokens = (
        0.0 if priced is None or acted.invalid else priced.per_token * (len(sample.response_ids) - common["forced"])
    )
    return Turn(
        **common,
        space=acted.space,
        payload=acted.payload,
        invalid=acted.invalid,
        ticks=acted.ticks,
        reward=acted.reward,
        cost=acted.cost + tokens,
        error=acted.error,
        events=acted.events,
        segments=token_segments(sample.response_ids, text, acted.segments, prompt.decode),
    )
