import io
import os
import signal
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from crossagent.envs.workers.pool import WorkerPool
from crossagent.errors import CrossAgentError
from crossagent.plugin import SamplingParams
from crossagent.rollout.loop import CUT, Episode, Timing, groups_of, play, space_openings
from crossagent.seeding import derive
from crossagent.testing import ScriptedSampler, ToySuite
from crossagent.testing.toy import ToyWorld
from crossagent.types import StopReason

ALL = ("api", "gui", "control")
PARAMS = SamplingParams(max_new_tokens=48)
SUITE = ToySuite()


def episodes(groups=3, size=4, spaces=ALL, tasks=("get:apple", "make:bow", "catch:bug")):
    return [
        Episode(SUITE.get(tasks[g % len(tasks)]), derive(1, "world", g), g, m, spaces)
        for g in range(groups)
        for m in range(size)
    ]


def go(listed, pool, sampler, prompt, **more):
    return play(listed, pool=pool, sampler=sampler, prompt=prompt, params=PARAMS, seed=7, step=3, **more)


def test_trajectories_are_the_same_with_no_one_and_two_workers_and_with_few_worlds(toy, prompt, whimsical):
    played = []
    for workers, worlds, schedule in (
        *((0, 12, "halves"), (1, 12, "halves"), (2, 6, "halves"), (2, 2, "halves")),
        *((0, 5, "lockstep"), (2, 2, "async"), (1, 12, "async")),
    ):
        with WorkerPool(toy, workers, worlds, timeout_s=30) as pool:
            played.append(go(episodes(), pool, whimsical, prompt, schedule=schedule))
    assert all(other == played[0] for other in played[1:])
    assert len({t.stop_reason for t in played[0]}) >= 2
    assert any(turn.invalid for t in played[0] for turn in t.turns)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'crossagent[ray]'")
def test_trajectories_are_the_same_through_ray(toy, prompt, whimsical):
    from crossagent.envs.workers.ray_pool import RayPool

    played = []
    for kind, schedule in ((WorkerPool, "halves"), (RayPool, "halves"), (RayPool, "async")):
        with kind(toy, 2, 3, timeout_s=60) as pool:
            played.append(go(episodes(), pool, whimsical, prompt, schedule=schedule))
    assert played[0] == played[1] == played[2]


class SeeingWorld(ToyWorld):
    """The toy world, drawn: a row of pixels, red where the player stands."""

    def observe(self):
        image = np.zeros((2, self.cells, 3), np.uint8)
        image[:, self.position, 0] = 255
        return replace(super().observe(), image=image)


def test_images_are_stored_as_they_were_seen(monkeypatch, toy, prompt, whimsical):
    monkeypatch.setattr("crossagent.testing.toy.ToyWorld", SeeingWorld)
    with WorkerPool(toy, 0, 4, timeout_s=30) as pool:
        (first, *_) = go(episodes(1, 4), pool, whimsical, prompt)
    pixels = [np.asarray(Image.open(io.BytesIO(turn.image))) for turn in first.turns]
    assert {image.shape for image in pixels} == {(2, 12, 3)}
    assert all((image[:, :, 0] == 255).sum() == 2 for image in pixels)


def test_spaces_are_watched_where_their_headers_open_differently(pool, prompt, whimsical):
    go(episodes(1, 1), pool, whimsical, prompt)
    assert {r.watched_ids for r in whimsical.requests} == {()}, "Api: and Action: both open with A"
    prompt.headers = {"api": "Api:", "gui": "Gui:", "control": "Do:"}
    assert space_openings(prompt, ALL) == (ord("A"), ord("G"), ord("D"))
    assert space_openings(prompt, ("gui",)) == (), "one space: its header is given"


def test_the_order_of_episodes_does_not_matter(pool, prompt, whimsical):
    assert go(episodes(), pool, whimsical, prompt) == go(episodes()[::-1], pool, whimsical, prompt)


def test_another_step_or_seed_samples_differently(pool, prompt, whimsical):
    go(episodes(1, 2), pool, whimsical, prompt)
    seeds = {r.seed for r in whimsical.requests}
    assert len(seeds) == len(whimsical.requests), "every response has a seed of its own"
    expected = derive(7, "sample", 3, 0, 1, 0)
    assert whimsical.requests[1].seed == expected
    play(episodes(1, 2), pool=pool, sampler=whimsical, prompt=prompt, params=PARAMS, seed=7, step=4)
    assert not seeds & {r.seed for r in whimsical.requests[len(seeds) :]}


def test_members_of_a_group_start_from_one_state(pool, prompt, whimsical):
    played = go(episodes(), pool, whimsical, prompt)
    for group in range(3):
        assert len({t.state_hash for t in played if t.group == group}) == 1
    assert len({t.state_hash for t in played}) == 3
    assert all(t.state_hash for t in played)


def test_the_four_endings_are_kept_apart(toy, prompt, sayer):
    task = SUITE.get("get:apple")

    def say(text):
        now = text.rsplit("|", 1)[1].splitlines()[-1]
        if text.split("|")[1] == "win":
            return "Api: take(apple)" if " 1 " in now or "here" in now else "Api: goto(apple)"
        return {"cut": "Api: " + "x" * 99, "idle": "Action: press(a)", "chat": "hello"}[text.split("|")[1]]

    listed = [
        Episode(replace(task, instruction="win"), 1, 0, 0, ALL),
        Episode(replace(task, instruction="cut"), 1, 1, 0, ALL),
        Episode(replace(task, instruction="idle", max_ticks=10, max_turns=20), 1, 2, 0, ALL),
        Episode(replace(task, instruction="chat", max_turns=3), 1, 3, 0, ALL),
    ]
    with WorkerPool(toy, 1, 4, timeout_s=30) as pool:
        won, cut, ticks, turns = go(listed, pool, sayer(say), prompt)
    assert (won.stop_reason, won.success) == (StopReason.terminated, True)
    assert (cut.stop_reason, cut.success, len(cut.turns)) == (StopReason.cut, False, 1)
    assert (cut.turns[0].invalid, cut.turns[0].space, cut.turns[0].finish_reason) == (CUT, "api", "length")
    assert len(cut.turns[0].response_ids) == PARAMS.max_new_tokens
    assert (ticks.stop_reason, ticks.ticks) == (StopReason.max_ticks, 10)
    assert (turns.stop_reason, len(turns.turns), turns.invalid_turns) == (StopReason.max_turns, 3, 3)


def test_the_next_prompt_says_how_the_last_action_went(pool, prompt, sayer):
    task = SUITE.get("get:apple")
    for said, told in (
        ("hello", "; last invalid"),
        ("Api: goto(leaf)", "; last failed: no leaf here"),
        ("Api: goto(apple)", "; last ok"),
    ):
        sampler = sayer(lambda _, said=said: said)
        (played,) = go([Episode(replace(task, max_turns=2), 3, 0, 0, ALL)], pool, sampler, prompt)
        assert "last" not in played.turns[0].observation
        assert played.turns[1].observation.endswith(told)
        assert prompt.decode(played.turns[1].prompt_ids).endswith(told + "\n")


def test_an_invalid_turn_passes_no_time_and_keeps_its_reason_and_its_space(pool, prompt, sayer):
    task = replace(SUITE.get("get:apple"), max_turns=1)
    (played,) = go([Episode(task, 3, 0, 0, ALL)], pool, sayer(lambda _: "Api: fly("), prompt)
    (turn,) = played.turns
    assert turn.invalid
    assert (turn.space, turn.payload, turn.ticks, turn.cost, turn.finish_reason) == ("api", None, 0, 0.0, "stop")


def test_a_single_space_forces_its_header_and_is_listed_alone(pool, prompt, whimsical):
    played = go(episodes(spaces=("api",)), pool, whimsical, prompt)
    turns = [turn for t in played for turn in t.turns]
    assert all(turn.forced == 4 and turn.text.startswith("Api:") for turn in turns)
    assert all(turn.sampler_logprobs[:4] == (0.0,) * 4 for turn in turns)
    assert all(turn.sampler_logprobs[4] == -1.0 for turn in turns)
    assert all(prompt.decode(turn.prompt_ids).startswith("api|") for turn in turns)


def test_a_space_that_is_not_allowed_is_invalid_and_counted_as_chosen(pool, prompt, sayer):
    task = replace(SUITE.get("get:apple"), max_turns=1)
    (played,) = go([Episode(task, 3, 0, 0, ("api", "gui"))], pool, sayer(lambda _: "Action: press(a)"), prompt)
    assert played.turns[0].space == "control"
    assert "not allowed" in played.turns[0].invalid


def test_prompts_extend_the_ids_that_were_sampled(pool, prompt, whimsical):
    for trajectory in go(episodes(), pool, whimsical, prompt):
        for before, after in zip(trajectory.turns, trajectory.turns[1:], strict=False):
            sampled = tuple(i for i in before.response_ids if i)
            assert after.prompt_ids[: len(before.prompt_ids) + len(sampled)] == before.prompt_ids + sampled


@pytest.mark.parametrize("schedule", ["halves", "lockstep", "async"])
@pytest.mark.parametrize("fault", ["raise", "exit", "hang"])
def test_broken_worlds_are_dropped_and_counted(fault, schedule, faulty, prompt, sayer):
    broken, timing = derive(1, "world", 1), Timing()
    sampler = sayer(lambda _: "Action: press(a)")
    with WorkerPool(faulty(fault=fault, tick=6, seeds=[broken]), 2, 6, timeout_s=1) as pool:
        played = go(episodes(tasks=("get:apple",)), pool, sampler, prompt, timing=timing, schedule=schedule)
        failures = sum(pool.failures.values())
    attempted = 12
    failed = [t for t in played if t.stop_reason is StopReason.failure]
    finished = [t for t in played if t.stop_reason is not StopReason.failure]
    assert attempted == len(finished) + len(failed) == len(played)
    assert failures == len(failed) + timing.retried == sum(timing.faults.values())
    assert timing.faults["environment"] == 4 or {t.failure.split(":")[0] for t in failed} > {"lost"}
    assert {t.seed for t in failed} >= {broken}
    assert all(t.failure and not t.success for t in failed)
    if fault == "raise":
        assert [t.group for t in failed] == [1] * 4
        assert all(len(t.turns) == 1 for t in failed), "the turns before the fault are kept for people"
    groups, dropped = groups_of(played)
    assert len(groups) + dropped == 3
    assert all(len(g.members) >= 2 for g in groups)


def test_a_broken_reset_is_a_failure_too(faulty, prompt, sayer):
    with WorkerPool(faulty(fault="raise", at="reset", seeds=[derive(1, "world", 0)]), 0, 3, timeout_s=5) as pool:
        played = go(episodes(), pool, sayer(lambda _: "Action: press(a)"), prompt)
    assert [t.stop_reason is StopReason.failure for t in played] == [True] * 4 + [False] * 8
    assert played[0].turns == ()


def test_groups_go_on_with_two_members_and_are_dropped_with_one(pool, prompt, whimsical):
    played = go(episodes(2, 3), pool, whimsical, prompt)
    lost = [replace(t, stop_reason=StopReason.failure) if (t.group, t.member) == (0, 1) else t for t in played]
    groups, dropped = groups_of(lost[::-1])
    assert ([len(g.members) for g in groups], dropped) == ([2, 3], 0)
    assert [t.member for t in groups[0].members] == [0, 2]
    lost = [replace(t, stop_reason=StopReason.failure) if t.group == 0 and t.member else t for t in played]
    groups, dropped = groups_of(lost)
    assert ([len(g.members) for g in groups], dropped) == ([3], 1)


def test_progress_sees_every_trajectory_once_and_timing_adds_up(pool, prompt, whimsical):
    seen, timing = [], Timing()
    played = go(episodes(), pool, whimsical, prompt, progress=seen.extend, timing=timing)
    assert sorted(seen, key=lambda t: (t.group, t.member)) == played
    assert timing.turns == sum(len(t.turns) for t in played)
    assert timing.sampled_tokens == sum(len(turn.response_ids) for t in played for turn in t.turns)
    assert timing.generate_s > 0
    assert timing.environment_s > 0


def test_two_episodes_with_one_name_are_refused(pool, prompt, whimsical):
    with pytest.raises(ValueError, match="share seeds"):
        go(episodes(1, 2)[:1] * 2, pool, whimsical, prompt)


def test_no_episodes_give_no_trajectories(pool, prompt, whimsical):
    assert go([], pool, whimsical, prompt) == []


def worlds_of(trajectory) -> set[str]:
    """Return the names that signed observations end with."""
    return {turn.observation.split(";")[0].split()[-1] for turn in trajectory.turns}


@pytest.mark.parametrize("schedule", ["halves", "async"])
def test_an_episode_that_was_lost_is_played_as_if_nothing_had_happened(schedule, faulty, toy, prompt, sayer):
    """Killed in the middle, with its neighbours: begun again from its seed, never continued in another world."""
    sampler = sayer(lambda _: "Action: press(a)")
    listed, timing = episodes(tasks=("get:apple",)), Timing()
    with WorkerPool(faulty(tick=4, seeds=[], signed=True), 2, 6, timeout_s=20) as pool:
        killed = iter([pool.pids[0], pool.pids[1]])
        calls = 0

        def kill_sometimes(request):
            nonlocal calls
            calls += 1
            if calls in (20, 45):
                os.kill(next(killed), signal.SIGKILL)
            return tuple(map(ord, "Action: press(a)"))

        played = go(listed, pool, ScriptedSampler(kill_sometimes, eot_id=0), prompt, timing=timing, schedule=schedule)
    with WorkerPool(toy, 0, 12, timeout_s=20) as pool:
        undisturbed = go(listed, pool, sampler, prompt)
    assert timing.retried >= 6
    assert timing.faults["infrastructure"] == timing.retried
    assert all(len(worlds_of(t)) == 1 for t in played), "no trajectory mixes two worlds"
    assert len({name for t in played for name in worlds_of(t)}) == len(played)
    for one, other in zip(played, undisturbed, strict=True):
        assert (one.stop_reason, one.success, one.ticks, len(one.turns)) == (
            other.stop_reason,
            other.success,
            other.ticks,
            len(other.turns),
        )
        assert [turn.anchor_key for turn in one.turns] == [turn.anchor_key for turn in other.turns]


def test_retries_end_and_what_is_left_is_dropped(faulty, prompt, sayer):
    timing = Timing()
    with WorkerPool(faulty(fault="kill", seeds=[derive(1, "world", 0)]), 1, 1, timeout_s=20, retries=2) as pool:
        played = go(episodes(1, 2), pool, sayer(lambda _: "Action: press(a)"), prompt, timing=timing)
    assert [t.failure.split(":")[0] for t in played] == ["killed"] * 2
    assert timing.retried == 2, "killed in its own turn, it is suspected the second time"
    assert timing.faults == {"infrastructure": 4}


def test_too_many_lost_episodes_abort_the_run_with_the_reasons(faulty, prompt, sayer):
    sampler = sayer(lambda _: "Action: press(a)")
    with (
        WorkerPool(faulty(fault="raise", seeds=[derive(1, "world", 0)]), 0, 12, timeout_s=5, max_failed=0.3) as pool,
        pytest.raises(CrossAgentError, match=r"4 of 12 episodes .*rollout\.max_failed=0\.3.*faulty world.*\(4×\)"),
    ):
        go(episodes(tasks=("get:apple",)), pool, sampler, prompt)


def test_halves_take_turns_and_their_batches_follow_from_the_episodes(toy, prompt, sayer):
    """12 episodes in 12 worlds are two batches of whole groups; in 4 worlds, batches of two."""

    def batches(workers, worlds, schedule="halves"):
        sampler, sizes = sayer(lambda _: "Action: press(a)"), []
        sample = sampler.sample
        sampler.sample = lambda requests, params: sizes.append([r.seed for r in requests]) or sample(requests, params)
        with WorkerPool(toy, workers, worlds, timeout_s=20) as pool:
            go(episodes(), pool, sampler, prompt, schedule=schedule)
        return sizes

    whole = batches(2, 6)
    assert whole == batches(0, 12) == batches(1, 12)
    assert [len(rows) for rows in whole[:4]] == [4, 8, 4, 8], "three groups of four: none is cut in two"
    assert {len(rows) for rows in batches(0, 4)} <= {1, 2}
    assert len(batches(0, 12, "lockstep")[0]) == 12


def test_an_unknown_schedule_is_refused(pool, prompt, whimsical):
    with pytest.raises(ValueError, match="got schedule 'fast'; expected one of halves, lockstep, async"):
        go(episodes(1, 1), pool, whimsical, prompt, schedule="fast")
