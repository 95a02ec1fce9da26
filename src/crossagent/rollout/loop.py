"""The turn loop: episodes in, trajectories out.

The population is two halves that take turns (schedule ``halves``): while the worlds of one act, the other is sampled.
Which rows a batch holds follows from the episodes, their endings and the number of worlds alone, each row is sampled with
a seed of its own, and a world's result depends on nothing but its episode: so trajectories are the same for any number of
workers, however fast each is. ``lockstep`` is one population without overlap; ``async`` samples whatever has arrived, and
promises equal distributions only.

An episode that the infrastructure lost is begun again from its seed, a few times; never continued in another world.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from crossagent.distributed import ALONE, Ranks
from crossagent.envs.images import png
from crossagent.envs.workers.pool import EnvFailure, Job, PendingCalls, WorkerPool
from crossagent.envs.world import Acted
from crossagent.errors import CrossAgentError
from crossagent.plugin import Sample, Sampler, SampleRequest, SamplingParams
from crossagent.rollout.config import SCHEDULES
from crossagent.rollout.explore import draw_space, header_logprobs
from crossagent.rollout.segments import token_segments
from crossagent.seeding import derive
from crossagent.spaces.base import CostRule
from crossagent.types import Group, Observation, StopReason, Task, Trajectory, Turn

logger = logging.getLogger(__name__)
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
        images: Sequence[bytes] = (),
    ) -> tuple[int, ...]:
        """Return the ids a response continues."""

    def shown(self, images: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return the images that such a prompt shows, in the order of their places."""

    def response_ids(self, text: str, space: str) -> tuple[int, ...]:
        """Return the ids of a response that is given as text: header, rest, end of turn."""

    def forced_ids(self, space: str) -> tuple[int, ...]:
        """Return the ids of a space's header."""

    def grammar(self, spaces: Sequence[str]) -> str:
        """Return what a response may be with these spaces, as a Lark grammar; empty: anything."""

    def decode(self, response_ids: Sequence[int]) -> str:
        """Return the text of a response without its end-of-turn token."""


def written(
    prompt: PromptLike,
    instruction: str,
    spaces: Sequence[str],
    history: Sequence[tuple[str, tuple[int, ...]]],
    observation: str,
    images: Sequence[bytes] = (),
) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
    """Return a prompt's ids and the pictures that they hold places for; without ``images`` no format is asked for any."""
    if not images:
        return prompt.prompt_ids(instruction, spaces, history, observation), ()
    return prompt.prompt_ids(instruction, spaces, history, observation, images), prompt.shown(images)


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
    """Where the time of :func:`play` went, in seconds, and what broke; adds up over calls."""

    generate_s: float = 0.0
    environment_s: float = 0.0
    """Waiting for worlds, while nothing was sampled."""
    turns: int = 0
    sampled_tokens: int = 0
    retried: int = 0
    """Episodes begun again."""
    faults: Counter[str] = field(default_factory=Counter)
    """Failed attempts by whose fault it was; see :mod:`crossagent.envs.workers.failures`."""


class _Live:
    """An episode in progress."""

    def __init__(self, episode: Episode, slot: int, attempt: int, killed: int) -> None:
        self.episode, self.slot, self.attempt, self.killed = episode, slot, attempt, killed
        self.turns: list[Turn] = []
        self.history: list[tuple[str, tuple[int, ...]]] = []
        self.observation = self.anchor_key = self.state_hash = ""
        self.image = b""
        self.images: list[bytes] = []
        """Of every turn, this one last; empty in an environment that shows text only."""
        self.success = False

    @property
    def exploring(self) -> bool:
        """Whether the space of this turn is drawn uniformly."""
        return self.episode.explore == len(self.turns) and len(self.episode.spaces) > 1

    def see(self, observation: Observation) -> None:
        self.observation = observation.text
        self.image = b"" if observation.image is None else png(observation.image)
        if self.image or self.images:
            self.images.append(self.image)

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
    schedule: str = "halves",
    ranks: Ranks = ALONE,
) -> list[Trajectory]:
    """Play episodes to their end and return one trajectory each, sorted by (group, member).

    A world that breaks ends its trajectory with ``StopReason.failure``, unless the fault is the infrastructure's: then the
    episode is begun again, ``pool.retries`` times at most. The caller drops failures and counts them (:func:`groups_of`).

    Args:
        episodes: Any number; those that find no free world begin when one ends. (group, member) pairs are unique.
        pool: The worlds.
        sampler: Called with the living episodes of a half (lockstep: of all), in the order of ``episodes``.
        prompt: Writes prompts and reads responses.
        params: How to sample.
        seed: The run's.
        step: Of the run; each response's seed derives from (seed, step, group, member, turn).
        progress: Called with the trajectories that have just ended, failures included.
        timing: Counters to add to.
        schedule: Who is sampled when; see the module's first lines.
        ranks: The processes among which the groups are dealt out, each with a pool and a sampler of its own. All of them
            call this with the same episodes, and all get all trajectories; ``progress`` and ``timing`` see this process's.

    Raises:
        CrossAgentError: More than ``pool.max_failed`` of the episodes were lost.
    """
    keys = [(e.group, e.member) for e in episodes]
    if len(set(keys)) != len(keys):
        raise ValueError("play: two episodes have the same (group, member); their responses would share seeds")
    if schedule not in SCHEDULES:
        raise ValueError(f"play: got schedule {schedule!r}; expected one of {', '.join(SCHEDULES)}")
    forget(sampler)
    groups: dict[int, list[Episode]] = {}
    for episode in episodes:
        groups.setdefault(episode.group, []).append(episode)
    mine = ranks.local_items(list(groups.values()))
    own = [episode for group in mine for episode in group] if ranks.size > 1 else episodes
    losses = _Losses(len(episodes), pool.max_failed)
    table = _Table(own, pool, sampler, prompt, params, seed, step, progress, timing or Timing(), losses)
    if schedule == "async":
        table.play_by_arrival()
    else:
        table.play_in_turns(parts=2 if schedule == "halves" else 1)
    forget(sampler)
    played: dict[int, list[Trajectory]] = {group[0].group: [] for group in mine}
    for trajectory in table.done:
        played[trajectory.group].append(trajectory)
    done = [trajectory for group in ranks.gather_in_order(played.values()) for trajectory in group]
    if ranks.size > 1:
        losses.check(sum(ranks.all_gather(losses.reasons), Counter()))
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


@dataclass
class _Part:
    """A part of the population, that is sampled together."""

    free: list[int]
    """Slots, the next one last."""
    starting: list[_Live] = field(default_factory=list)
    live: list[_Live] = field(default_factory=list)
    acting: list[_Said] = field(default_factory=list)
    """Of those that live, what each said; its world is at it."""
    resets: PendingCalls | None = None
    acts: PendingCalls | None = None

    @property
    def empty(self) -> bool:
        return not self.live and not self.starting


@dataclass
class _Said:
    """One response, and the episode that it is of."""

    state: _Live
    request: SampleRequest
    sample: Sample
    text: str


class _Losses:
    """Episodes that were dropped, and how many of them are too many."""

    def __init__(self, episodes: int, most: float) -> None:
        self.reasons = Counter[str]()
        self._episodes, self._most = episodes, most

    def add(self, failure: EnvFailure) -> None:
        self.reasons[f"{failure.kind}: {failure.reason}"] += 1
        self.check(self.reasons)

    def check(self, reasons: Counter[str]) -> None:
        """Raise when these are too many."""
        lost = sum(reasons.values())
        if lost > self._most * self._episodes:
            often = "; ".join(f"{reason} ({count}×)" for reason, count in reasons.most_common(3))
            raise CrossAgentError(
                f"{lost} of {self._episodes} episodes were lost to their worlds, which is more than rollout.max_failed="
                f"{self._most:g} allows: {often}. Fix the environment, or go on with what is left: rollout.max_failed=1"
            )


class _Table:
    """The episodes of one call of :func:`play`."""

    def __init__(
        self,
        episodes: Sequence[Episode],
        pool: WorkerPool,
        sampler: Sampler,
        prompt: PromptLike,
        params: SamplingParams,
        seed: int,
        step: int,
        progress: Callable[[Sequence[Trajectory]], None] | None,
        timing: Timing,
        losses: _Losses,
    ) -> None:
        self.waiting = deque((episode, 0, 0) for episode in episodes)
        """Each with its failed attempts, and those in which its own process was killed."""
        self.done: list[Trajectory] = []
        self._ended: list[Trajectory] = []
        self._wanted, self._losses = len(episodes), losses
        self.pool, self.sampler, self.prompt, self.params = pool, sampler, prompt, params
        self.seed, self.step, self.progress, self.timing = seed, step, progress, timing

    # -- schedules -------------------------------------------------------------------------------------------------
    def play_in_turns(self, parts: int) -> None:
        """Let the parts take turns: collect what the worlds of one did, sample it, let its worlds act, go on."""
        population = [_Part(slots) for slots in self._deal(parts)]
        for part in population:
            self._begin(part)
        while self.waiting or not all(part.empty for part in population):
            for part in population:
                self._collect(part)
                self._begin(part)
                if len(population) == 1:
                    self._collect(part)  # nobody else is sampled meanwhile, so new episodes need not wait a turn
                part.acting = self._sample(part.live)
                self._stop_cut(part)
                part.acts = self._submit("act", [_said(said) for said in part.acting])
                self._report()

    def play_by_arrival(self) -> None:
        """Sample whatever has arrived; every world goes on by itself."""
        free = list(range(self.pool.slots - 1, -1, -1))
        flying: dict[PendingCalls, _Live | _Said] = {}
        while self.waiting or flying:
            while self.waiting and free:
                state = self._seat(free)
                flying[self._submit("reset", [_start(state)])] = state
            before = time.perf_counter()
            arrived = self.pool.wait(list(flying))
            self.timing.environment_s += time.perf_counter() - before
            ready: list[_Live] = []
            for call in arrived:
                what, (answer,) = flying.pop(call), call.results
                state = what.state if isinstance(what, _Said) else what
                goes_on = self._acted(what, answer) if isinstance(what, _Said) else self._started(what, answer)
                if goes_on and not self._lost(state):
                    ready.append(state)
                else:
                    free.append(state.slot)
            ready.sort(key=lambda s: (s.episode.group, s.episode.member))
            for said in self._sample(ready):
                if said.sample.finish_reason == "length":
                    self._acted(said, None)
                    free.append(said.state.slot)
                else:
                    flying[self._submit("act", [_said(said)])] = said
            self._report()

    def _deal(self, parts: int) -> list[list[int]]:
        """Return the slots of each part, the first one last; groups stay whole where there is a world for every episode."""
        slots = min(self.pool.slots, self._wanted)
        first = -(-slots // parts)
        if slots == self._wanted:
            groups = [episode.group for episode, *_ in self.waiting]
            edges = [i for i in range(1, slots) if groups[i] != groups[i - 1]]
            nearest = min(edges, key=lambda i: (abs(i - first), i), default=first)
            first = nearest if 4 * abs(nearest - first) <= slots else first
        if parts == 1 or first >= slots:
            return [list(range(slots - 1, -1, -1))]
        return [list(range(first - 1, -1, -1)), list(range(slots - 1, first - 1, -1))]

    # -- steps -----------------------------------------------------------------------------------------------------
    def _submit(self, method: str, jobs: Sequence[Job]) -> PendingCalls:
        before = time.perf_counter()
        call = self.pool.submit(method, jobs)  # a pool without workers does it here and now
        self.timing.environment_s += time.perf_counter() - before
        return call

    def _seat(self, free: list[int]) -> _Live:
        episode, attempt, killed = self.waiting.popleft()
        return _Live(episode, free.pop(), attempt, killed)

    def _begin(self, part: _Part) -> None:
        """Let the worlds of new episodes begin; they join the part when it is collected next."""
        part.starting = []
        while self.waiting and part.free:
            part.starting.append(self._seat(part.free))
        part.resets = self._submit("reset", [_start(state) for state in part.starting])

    def _collect(self, part: _Part) -> None:
        """Take what the worlds of a part have done; what is left of it lives."""
        before = time.perf_counter()
        acted = self.pool.finish(part.acts) if part.acts is not None else []
        started = self.pool.finish(part.resets) if part.resets is not None else []
        self.timing.environment_s += time.perf_counter() - before
        going = part.live if part.acts is None else []
        going += [s.state for s, answer in zip(part.acting, acted, strict=True) if self._acted(s, answer)]
        going += [s for s, answer in zip(part.starting, started, strict=True) if self._started(s, answer)]
        going = [s for s in going if not self._lost(s)]
        part.free += [s.slot for s in reversed([*(s.state for s in part.acting), *part.starting]) if s not in going]
        part.live, part.acting, part.starting, part.acts, part.resets = going, [], [], None, None

    def _stop_cut(self, part: _Part) -> None:
        """End the episodes whose response was cut at the token limit: there is nothing to execute."""
        cut = [said for said in part.acting if said.sample.finish_reason == "length"]
        for said in cut:
            self._acted(said, None)
        part.free += [said.state.slot for said in reversed(cut)]
        part.live = [said.state for said in part.acting if said not in cut]
        part.acting = [said for said in part.acting if said not in cut]

    def _sample(self, live: list[_Live]) -> list[_Said]:
        """Sample one response for each of these episodes."""
        if not live:
            return []
        before = time.perf_counter()
        requests = [
            SampleRequest(
                prompt_ids=ids,
                images=images,
                seed=derive(self.seed, "sample", self.step, s.episode.group, s.episode.member, len(s.turns)),
                forced_ids=self._header(s),
                watched_ids=() if s.exploring else space_openings(self.prompt, s.episode.spaces),
                grammar=self.prompt.grammar(s.episode.spaces),
            )
            for s in live
            for ids, images in [
                written(self.prompt, s.episode.task.instruction, s.episode.spaces, s.history, s.observation, s.images)
            ]
        ]
        samples = self.sampler.sample(requests, self.params)
        timing = self.timing
        timing.generate_s += time.perf_counter() - before
        timing.turns += len(samples)
        timing.sampled_tokens += sum(len(s.response_ids) for s in samples) - sum(len(r.forced_ids) for r in requests)
        texts = [self.prompt.decode(sample.response_ids) for sample in samples]
        return [_Said(*row) for row in zip(live, requests, samples, texts, strict=True)]

    def _header(self, state: _Live) -> tuple[int, ...]:
        """Return the header that is not the policy's to choose in this turn: of the only space, or of the one to explore."""
        episode = state.episode
        if len(episode.spaces) == 1:
            return self.prompt.forced_ids(episode.spaces[0])
        if not state.exploring:
            return ()
        place = (self.seed, self.step, episode.group, episode.member, len(state.turns))
        return self.prompt.forced_ids(draw_space(episode.spaces, *place))

    def _started(self, state: _Live, answer: Any) -> bool:
        """Take the start of an episode; return whether it goes on."""
        if isinstance(answer, EnvFailure):
            self._broke(state, answer)
            return False
        state.see(answer.observation)
        state.state_hash, state.anchor_key = answer.state_hash, answer.anchor_key
        return True

    def _lost(self, state: _Live) -> bool:
        """Return whether the world of a living episode is known to be gone: then there is nothing to sample for."""
        failure = self.pool.lost(state.slot)
        if failure is not None:
            self._broke(state, failure)
        return failure is not None

    def _acted(self, said: _Said, answer: Acted | EnvFailure | None) -> bool:
        """Take what a response did, None where it was cut; return whether the episode goes on."""
        state = said.state
        if isinstance(answer, EnvFailure):
            self._broke(state, answer)
            return False
        state.turns.append(
            _turn(state, said.request, said.sample, said.text, answer, self.prompt, self.pool.config.costs)
        )
        reason = _stop(state, answer)
        if answer is not None:
            state.success = answer.success
            state.history.append((state.observation, said.sample.response_ids))
            state.see(answer.observation)
            state.anchor_key = answer.anchor_key
        if reason is not None:
            self._ended.append(state.finish(reason))
        return reason is None

    def _broke(self, state: _Live, failure: EnvFailure) -> None:
        """Begin an episode again, or drop it; and stop when too many are dropped."""
        self.timing.faults[failure.fault] += 1
        # One that is killed in its own turn is suspected the second time; one that goes down with others is not.
        killed = state.killed + (failure.kind == "killed")
        if failure.retried and killed < 2 and state.attempt < self.pool.retries:
            logger.warning("begun again: task %r, seed %d (%s)", state.episode.task.name, state.episode.seed, failure)
            self.timing.retried += 1
            self.waiting.appendleft((state.episode, state.attempt + 1, killed))
            return
        self._ended.append(state.finish(StopReason.failure, str(failure)))
        self._losses.add(failure)

    def _report(self) -> None:
        self.done += self._ended
        if self.progress is not None and self._ended:
            self.progress(self._ended)
        self._ended = []


def _start(state: _Live) -> Job:
    return state.slot, (state.episode.task, state.episode.seed)


def _said(said: _Said) -> Job:
    return said.state.slot, (said.text, said.state.episode.spaces)


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
    """Return what a turn holds of its response: ids, log-probs, what could be drawn, and whose choice its header was.

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
        "pictures": request.images,
        "response_ids": sample.response_ids,
        "sampler_logprobs": logprobs,
        "finish_reason": sample.finish_reason,
        "allowed": sample.allowed,
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
