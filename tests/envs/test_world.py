import pytest

from crossagent.envs.world import World, WorldConfig
from crossagent.plugin import ActionSpaceSpec
from crossagent.testing import ToySuite, toy_environment
from crossagent.types import RawTick

SPACES = (
    (ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace"), {}),
    (ActionSpaceSpec("gui", "1", ("pointer",), "Gui:", "crossagent_gui.space:GuiSpace"), {}),
    (ActionSpaceSpec("control", "1", ("control",), "Action:", "crossagent_control.space:ControlSpace"), {"ticks": 4}),
)
APPLE, BOW = ToySuite().get("get:apple"), ToySuite().get("make:bow")


@pytest.fixture
def world():
    return World(WorldConfig(toy_environment(), {}, SPACES))


def test_lowering_compares_actions_of_different_spaces(world):
    by_skill, by_key, not_one, same = world.lower(
        APPLE, 3, (), ("Api: goto(apple)", "Action: press(d)", "Api: fly(", "Api: goto(apple)")
    )
    toward = "d" if "right" in world.env.observe().text.split("apple")[1].split()[0] else "a"
    assert by_skill.ticks == (RawTick((toward,)),)
    assert by_key.ticks == (RawTick(("d",)),)
    assert (not_one.ticks, not_one.space) == (None, "api")
    assert not_one.invalid
    assert same == by_skill


def test_what_fails_at_once_is_not_what_does_nothing(world):
    bug = ToySuite().get("catch:bug")
    idle, fails = world.lower(bug, 0, (), ("Action: no_op", "Api: goto(bug)"))
    assert idle.ticks == ()
    assert (fails.ticks, fails.invalid, fails.space) == (None, "", "api")
    world.reset(bug, 0)
    assert world.act("Api: goto(bug)").error


def test_lowering_changes_nothing_and_its_replay_equals_a_fresh_one(world):
    demo = world.demonstrate(BOW, 4, ("gui",), 0)
    texts = ("Gui: press(e)", "Action: press(a)")
    stepwise = [world.lower(BOW, 4, demo.texts[:t], (demo.texts[t], *texts), 3) for t in range(len(demo.texts))]
    fresh = []
    for t in range(len(demo.texts)):
        other = World(world.config)
        fresh.append(other.lower(BOW, 4, demo.texts[:t], (demo.texts[t], *texts), 3))
    assert stepwise == fresh
    backwards = [world.lower(BOW, 4, demo.texts[:t], (demo.texts[t], *texts), 3) for t in (2, 0, 1)]
    assert backwards == [fresh[2], fresh[0], fresh[1]]


def test_an_extended_prefix_is_not_replayed_from_the_start(world, monkeypatch):
    demo = world.demonstrate(BOW, 4, ("gui",), 0)
    resets = []
    reset = world.env.reset
    monkeypatch.setattr(world.env, "reset", lambda *a: resets.append(a) or reset(*a))
    for t in range(len(demo.texts)):
        world.lower(BOW, 4, demo.texts[:t], demo.texts[t : t + 1])
    assert len(resets) == 1
    world.lower(BOW, 5, (), ("Gui: press(e)",))
    assert len(resets) == 2


def test_nothing_is_lowered_after_the_end(world):
    demo = world.demonstrate(APPLE, 3, ("api",), 0)
    assert demo.success
    with pytest.raises(RuntimeError, match="over after"):
        world.lower(APPLE, 3, demo.texts, ("Api: goto(apple)",))


def test_act_needs_an_episode_and_ends_with_it(world):
    with pytest.raises(RuntimeError, match="reset"):
        world.act("Api: goto(apple)")
    demo = world.demonstrate(APPLE, 3, ("api",), 0)
    with pytest.raises(RuntimeError, match="reset"):
        world.act("Api: goto(apple)")
    world.reset(APPLE, 3)
    for text in demo.texts:
        acted = world.act(text)
    assert acted.terminated
    assert acted.success
    with pytest.raises(RuntimeError, match="reset"):
        world.act("Api: goto(apple)")


def test_a_world_that_broke_is_built_anew(world, monkeypatch):
    world.reset(APPLE, 3)
    old, closed = world.env, []
    monkeypatch.setattr(old, "close", lambda: closed.append(True))
    monkeypatch.setattr(old, "observe", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.act("Api: goto(apple)")
    with pytest.raises(RuntimeError, match="reset"):
        world.act("Api: goto(apple)")
    world.reset(APPLE, 3)
    assert world.env is not old
    assert closed == [True]


def test_a_recording_is_a_function_of_its_arguments(world):
    names = ("api", "gui", "control")
    once = [world.demonstrate(BOW, seed, names, 7) for seed in range(6)]
    assert once == [world.demonstrate(BOW, seed, names, 7) for seed in range(6)]
    others = [world.demonstrate(BOW, 1, names, choice).texts for choice in range(12)]
    assert len(set(others)) > 3, "another decision seed chooses other spaces"


def test_experts_that_cannot_go_on_end_the_recording(world):
    demo = world.demonstrate(BOW, 1, ("api",), 0)
    assert (demo.turns, demo.success, demo.end) == ((), False, "stuck")
