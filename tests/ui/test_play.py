"""A person plays CraftWorld in Chromium: keys, mouse, windows, the end of a task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from crossagent_craftworld.play.server import serve
from crossagent_craftworld.play.session import Session
from crossagent_craftworld.suite import suite
from crossagent_minecraft_data.windows import PLAYER_SLOTS, slot_rect

Open = Callable[..., "Page"]  # noqa: F821


@pytest.fixture
def game() -> Iterator[tuple[Session, str]]:
    """A session with something in the hotbar, and the address of its page."""
    session = Session(next(t.name for t in suite().tasks() if t.solvable and t.name.startswith("craft_item:stick")), 1)
    server = serve(session, 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield session, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def picture(page) -> str:
    """Return the canvas as it is now."""
    return page.evaluate("document.getElementById('screen').toDataURL()")


def in_window(page, kind: str) -> None:
    page.wait_for_selector(f"html[data-window='{kind}']", state="attached", timeout=15_000)


def click(page, x: int, y: int, button: str = "left") -> None:
    """Click a pixel of the 640×360 screen."""
    box = page.locator("#screen").bounding_box()
    page.mouse.move(box["x"] + (x + 0.5) * box["width"] / 640, box["y"] + (y + 0.5) * box["height"] / 360)
    page.wait_for_timeout(200)
    page.mouse.click(
        box["x"] + (x + 0.5) * box["width"] / 640, box["y"] + (y + 0.5) * box["height"] / 360, button=button, delay=80
    )


def test_keys_windows_and_slots(open_page: Open, game) -> None:
    session, address = game
    page = open_page(address)
    world = session._env.world
    assert page.inner_text("#instruction") == session._env.task.instruction
    first = picture(page)
    page.locator("#screen").focus()
    z = (world.body.x, world.body.z)
    page.keyboard.down("w")
    page.wait_for_timeout(600)
    page.keyboard.up("w")
    assert (world.body.x, world.body.z) != z
    assert picture(page) != first

    page.keyboard.press("e")
    in_window(page, "inventory")
    opened = picture(page)
    slot = next(s for s in PLAYER_SLOTS["inventory"] if world.inventory.window.slots[s] is not None)
    stack = world.inventory.window.slots[slot]
    x, y, w, h = slot_rect("inventory", slot)
    click(page, x + w // 2, y + h // 2)
    page.locator("#text", has_text=f"cursor {stack[0]}").wait_for(timeout=10_000)
    assert world.inventory.window.cursor == stack
    assert world.inventory.window.slots[slot] is None
    assert picture(page) != opened
    free = next(s for s in PLAYER_SLOTS["inventory"] if world.inventory.window.slots[s] is None and s != slot)
    x, y, w, h = slot_rect("inventory", free)
    click(page, x + w // 2, y + h // 2)
    page.locator("#text", has_text="cursor none").wait_for(timeout=10_000)
    assert world.inventory.window.slots[free] == stack
    page.keyboard.press("Escape")
    in_window(page, "")


def test_a_tap_counts_and_the_wheel_turns(open_page: Open, game) -> None:
    _, address = game
    page = open_page(address)
    page.locator("#screen").focus()
    page.keyboard.press("5")  # down and up between two messages
    page.wait_for_selector("html[data-selected='4']", state="attached", timeout=10_000)
    page.locator("#screen").hover()
    page.mouse.wheel(0, 100)
    page.wait_for_selector("html[data-selected='5']", state="attached", timeout=10_000)


def test_the_end_another_task_and_what_goes_wrong(open_page: Open, game) -> None:
    session, address = game
    page = open_page(address)
    page.wait_for_timeout(300)
    assert len(session._env.tick_log) == 0  # the clock waits
    page.locator("#screen").focus()
    page.keyboard.press("1")
    goal = session._env.task.setup["goal"]
    with session._lock:
        session._env.world.emit(goal["event"], goal["name"], 1)
    page.get_by_text("Done!").wait_for(timeout=10_000)
    assert goal["name"] in page.inner_text("#events")
    page.fill("#task", "kill_entity:zombie")
    page.fill("#seed", "7")
    page.click("#again")
    page.locator("#category", has_text="kill_entity").wait_for(timeout=10_000)
    assert page.is_hidden("#banner")
    assert any(mob.kind == "zombie" for mob in session._env.world.mobs)
    open_page.expected.append("400")  # type: ignore[attr-defined]
    page.fill("#task", "<b>nope</b>")
    page.click("#again")
    page.locator("#problem", has_text="--task <b>nope</b>: there is none of this name").wait_for(timeout=10_000)


def test_the_mouse_looks(open_page: Open, game) -> None:
    session, address = game
    page = open_page(address)
    page.click("#screen", position={"x": 100, "y": 100})
    page.wait_for_timeout(400)
    if not page.evaluate("document.pointerLockElement !== null"):
        pytest.skip("this Chromium lends no pointer lock")
    yaw = session._env.world.yaw
    assert page.is_hidden("#hint")
    page.mouse.move(300, 200)
    page.mouse.move(420, 200)
    page.wait_for_timeout(500)
    assert session._env.world.yaw != yaw
