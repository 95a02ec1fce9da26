"""The environment around the simulator: contract, mouse, windows. The game itself is a stand-in here."""

import math

import pytest

from crossagent.plugin import Event, Unavailable
from crossagent.testing import check_environment
from crossagent_minestudio import crossagent_environments
from crossagent_minestudio.env import MineStudio
from crossagent_minestudio.suite import suite

MINE = suite().get("mine_block:stone")
CRAFT = next(t for t in suite().tasks() if any(n == "crafting_table" for n, _ in t.setup.get("blocks", ())))


def test_the_contract(make_world):
    (spec,) = crossagent_environments()
    findings = check_environment(make_world(), suite(), spec)
    assert not findings, "\n".join(str(finding) for finding in findings)


def test_a_task_is_won_by_the_games_own_statistic(make_world):
    env = make_world()
    text = env.reset(MINE, 0).text
    assert text.startswith("hand iron_pickaxe have iron_pickaxe 1 at 0 4 0 yaw ")
    for _ in range(3):
        env.interface("control").step((), ("left",))
    assert env.events == [Event("mine_block", "stone")]
    assert (env.success, env.terminated, env.total_reward) == (True, True, 1.0)


def test_a_window_has_a_cursor_that_follows_the_mouse(make_world):
    env = make_world()
    env.reset(MINE, 0)
    pointer = env.interface("pointer")
    assert pointer.targets() == {}
    pointer.press("e")
    assert env.frame.gui
    assert {"grid1", "result", "hot1"} <= set(pointer.targets())
    rect = pointer.targets()["hot1"]
    ticks = len(env.tick_log)
    pointer.move_to(*rect.center)
    pointer.click("left", modifiers=("shift",))
    moved = [sum(t.camera[axis] for t in env.tick_log[ticks:]) for axis in (0, 1)]
    assert abs(320 + moved[0] - rect.center[0]) <= 1
    assert abs(180 + moved[1] - rect.center[1]) <= 1
    pressed = [t for t in env.tick_log[ticks:] if t.buttons]
    assert [(t.buttons, t.keys, t.camera) for t in pressed] == [(("left",), ("left.shift",), (0, 0))]
    pointer.press("e")
    assert not env.frame.gui
    assert pointer.targets() == {}


def test_a_window_of_the_world_is_that_of_the_tasks_block(make_world):
    env = make_world()
    env.reset(CRAFT, 0)
    pointer = env.interface("pointer")
    pointer.move_to(320, 180)
    pointer.click("right")
    assert env.frame.gui
    assert "grid9" in pointer.targets()


@pytest.mark.parametrize("pixel", [(320, 180), (10, 10), (630, 350), (320, 20), (100, 300)])
@pytest.mark.parametrize("pitch", [0, 200, -300])
def test_a_click_in_the_world_turns_the_view_to_that_pixel(make_world, pixel, pitch):
    env = make_world(quantum=1)
    env.reset(MINE, 0)
    env.interface("control").step((), (), (0, pitch))
    before = env.frame.place
    ray = _ray(before, pixel)
    env.interface("pointer").move_to(*pixel)
    env.interface("pointer").click("right")
    after = _ray(env.frame.place, None)
    assert math.degrees(math.acos(min(1.0, sum(a * b for a, b in zip(ray, after, strict=True))))) < 0.2


def _ray(place, pixel):
    """Return the unit vector of a pixel of the screen, or of the view: Minecraft's axes, yaw 0 is +z."""
    pitch, yaw = math.radians(place[3]), math.radians(place[4])
    view = (-math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch))
    if pixel is None:
        return view
    right = (-math.cos(yaw), 0.0, -math.sin(yaw))
    up = (-math.sin(yaw) * math.sin(pitch), math.cos(pitch), math.cos(yaw) * math.sin(pitch))
    focal = 180 / math.tan(math.radians(35))
    r, u = (pixel[0] + 0.5 - 320) / focal, (180 - pixel[1] - 0.5) / focal
    ray = [v + r * a + u * b for v, a, b in zip(view, right, up, strict=True)]
    norm = math.sqrt(sum(c * c for c in ray))
    return [c / norm for c in ray]


def test_keys_that_the_simulator_lacks_are_not_offered(make_world):
    env = make_world()
    assert not {"escape", "q", "f"} & set(env.interface("control").keys())
    assert {"w", "e", "1", "9", "left.shift"} <= set(env.interface("control").keys())


def test_what_is_missing_is_said_before_a_run_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSAGENT_MINESTUDIO_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match=r"minestudio is not installed in .*; run: crossagent minestudio install"):
        MineStudio()
    with pytest.raises(ValueError, match="image_size: got"):
        MineStudio(image_size=(1, 2))
