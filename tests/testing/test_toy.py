"""The toy world is what the other tests stand on: its promises, pinned."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from crossagent.plugin import ActionSpace, ExpertStuck, SampleRequest, SamplingParams, Task
from crossagent.testing import FaultyEnv, ScriptedSampler, ToySuite, ToyWorld, check_environment, toy_environment
from crossagent.testing.toy_tasks import ControlExpert, PointerExpert, SkillsExpert
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlSpace
from crossagent_gui.space import GuiSpace

SOLVABLE = [task for task in ToySuite().tasks() if task.solvable]
WAYS: dict[str, tuple[ActionSpace, object]] = {
    "api": (ApiSpace(), SkillsExpert()),
    "gui": (GuiSpace(), PointerExpert()),
    "control": (ControlSpace(), ControlExpert()),
}


def play(world: ToyWorld, task: Task, seed: int, order: list[str]) -> tuple[bool, int]:
    """Play an episode: each turn the first expert that can go on, its calls written as an action of its space."""
    world.reset(task, seed)
    for turn in range(task.max_turns):
        assert len(re.findall(r"\w+|[^\w\s]", world.observe().text)) <= 25
        for name in order:
            space, expert = WAYS[name]
            try:
                calls = expert.propose(world)  # type: ignore[attr-defined]
            except ExpertStuck:
                continue
            (action,) = space.from_calls(calls, world)
            assert space.tokenizer.decode(space.tokenizer.encode(action)) == action
            assert space.executor.execute(action, world).error == ""
            break
        else:
            return False, turn
        if world.over:
            return world.success, turn + 1
    return False, task.max_turns


@pytest.mark.parametrize(
    ("order", "solved"),
    [
        (["api"], {"get"}),
        (["gui"], {"make"}),
        (["control"], {"get", "catch"}),
        (["api", "gui", "control"], {"get", "make", "catch"}),
    ],
)
def test_each_interface_has_its_limit_and_together_they_have_none(order: list[str], solved: set[str]) -> None:
    world = ToyWorld()
    done: dict[str, list[bool]] = {}
    for task in SOLVABLE:
        for seed in range(10):
            success, turns = play(world, task, seed, order)
            done.setdefault(task.category, []).append(success)
            assert turns <= 8
    assert {category for category, runs in done.items() if any(runs)} == solved
    if len(order) == 3:
        assert all(all(runs) for runs in done.values())


def test_the_suite_has_three_splits_that_do_not_overlap() -> None:
    splits = {name: {t.name for t in SOLVABLE if name in t.splits} for name in ("train", "demo", "ood")}
    assert [len(names) for names in splits.values()] == [6, 3, 3]
    assert len(set.union(*splits.values())) == len(SOLVABLE) == 12
    assert all({t.category for t in SOLVABLE if name in t.splits} == {"get", "make", "catch"} for name in splits)


def test_the_world_keeps_the_contract() -> None:
    assert check_environment(ToyWorld(), ToySuite(), toy_environment(), tasks=12) == []


def test_a_gesture_and_a_move_with_a_click_are_the_same_tick() -> None:
    world = ToyWorld()
    task = ToySuite().get("make:axe")
    world.reset(task, 0)
    world.interface("pointer").press("e")
    x, y = world.targets()["result"].center
    world.tick(world_tick(camera=(x + 14 - world.cursor[0], y - 8 - world.cursor[1])))
    gui, control = WAYS["gui"][0], WAYS["control"][0]
    click = gui.tokenizer.decode("Gui: click(result)")
    by_hand = control.tokenizer.decode("Action: move(-14, 8) and click(left)")
    assert gui.lower(click, world) == control.lower(by_hand, world) != ()  # type: ignore[arg-type]
    elsewhere = control.tokenizer.decode("Action: move(-12, 8) and click(left)")
    assert gui.lower(click, world) != control.lower(elsewhere, world)  # type: ignore[arg-type]


def test_a_skill_and_the_key_that_does_the_same_are_the_same_tick() -> None:
    world = ToyWorld()
    world.reset(ToySuite().get("get:apple"), 0)
    side = "d" if world.things["apple"] > world.position else "a"
    api, control = WAYS["api"][0], WAYS["control"][0]
    skill = api.lower(api.tokenizer.decode("Api: goto(apple)"), world)  # type: ignore[arg-type]
    assert skill == control.lower(control.tokenizer.decode(f"Action: press({side})"), world)  # type: ignore[arg-type]


def world_tick(camera: tuple[int, int]):  # type: ignore[no-untyped-def]
    from crossagent.plugin import RawTick

    return RawTick(camera=camera)


def test_tick_limits_nest() -> None:
    world = ToyWorld()
    world.reset(SOLVABLE[0], 0)
    with world.tick_limit(3):
        with world.tick_limit(2):
            for _ in range(9):
                world.interface("control").step()
        assert len(world.tick_log) == 2
        with world.tick_limit(5):
            for _ in range(9):
                world.interface("control").step()
        assert len(world.tick_log) == 3
        world.interface("control").step()
        raise AssertionError("the outer limit must end the block")
    world.interface("control").step()
    assert len(world.tick_log) == 4


@pytest.mark.parametrize("at", ["build", "reset", "observe", "tick"])
def test_a_faulty_world_raises_where_it_is_told_to(at: str) -> None:
    def whole_episode() -> None:
        world = FaultyEnv(fault="raise", at=at, tick=2)  # type: ignore[arg-type]
        world.reset(SOLVABLE[0], 0)
        for _ in range(3):
            world.interface("control").step()

    with pytest.raises(RuntimeError, match=f"faulty world: raise in {at}"):
        whole_episode()


def test_a_faulty_world_breaks_at_its_seeds_only() -> None:
    world = FaultyEnv(at="reset", seeds=[7])
    world.reset(SOLVABLE[0], 6)
    with pytest.raises(RuntimeError):
        world.reset(SOLVABLE[0], 7)


def test_a_faulty_world_can_take_its_process_with_it() -> None:
    code = "from crossagent.testing import FaultyEnv; FaultyEnv(fault='exit', at='build'); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 13, done.stderr
    assert "alive" not in done.stdout


def test_a_scripted_sampler_keeps_forced_ids_first_and_cuts() -> None:
    sampler = ScriptedSampler(["ab", "zb", "abcd"], encode=lambda text: [ord(c) for c in text], eot_id=0)
    a, b = ord("a"), ord("b")
    free = SampleRequest((1,), seed=0)
    forced = SampleRequest((1,), seed=0, forced_ids=(a,))
    first, second, third = sampler.sample([free, forced, forced], SamplingParams(max_new_tokens=3))
    assert (first.response_ids, first.logprobs, first.finish_reason) == ((a, b, 0), (-1.0, -1.0, -1.0), "stop")
    assert second.response_ids == (a, ord("z"), b)
    assert second.finish_reason == "length"
    assert (third.response_ids, third.logprobs, third.finish_reason) == ((a, b, ord("c")), (0.0, -1.0, -1.0), "length")
    with pytest.raises(IndexError, match="3 responses"):
        sampler.sample([free], SamplingParams())
