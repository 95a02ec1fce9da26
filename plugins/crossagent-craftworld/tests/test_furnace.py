"""Furnaces: fire, timing, room, what breaking one gives; and that no drag can undo what was smelted."""

import pytest

from crossagent.plugin import Task
from crossagent_craftworld import motor
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.furnace import FUEL, INPUT, OUTPUT, Furnace
from crossagent_craftworld.palette import intern
from crossagent_minecraft_data.windows import PLAYER_SLOTS

ENV = CraftWorld()


def burn(slots, ticks, furnace=None):
    furnace = furnace or Furnace()
    for _ in range(ticks):
        furnace.tick(slots)
    return furnace


def test_the_first_item_is_ready_on_the_200th_burning_tick():
    slots = [("iron_ore", 2), ("coal", 1), None]
    furnace = burn(slots, 199)
    assert slots == [("iron_ore", 2), None, None]
    assert (furnace.burn, furnace.progress) == (1600 - 198, 199)
    burn(slots, 1, furnace)
    assert slots == [("iron_ore", 1), None, ("iron_ingot", 1)]
    burn(slots, 200, furnace)
    assert slots == [None, None, ("iron_ingot", 2)]


@pytest.mark.parametrize(("fuel", "made"), [("coal", 8), ("oak_planks", 1), ("blaze_rod", 12), ("coal_block", 64)])
def test_a_fuel_smelts_its_burn_time_over_200(fuel, made):
    slots = [("cobblestone", 64), (fuel, 1), None]
    burn(slots, 20_000)
    assert slots[OUTPUT] == ("stone", made)


def test_a_lava_bucket_leaves_its_bucket():
    slots = [("sand", 1), ("lava_bucket", 1), None]
    burn(slots, 1)
    assert slots[FUEL] == ("bucket", 1)


def test_nothing_burns_without_room_or_recipe_or_fuel():
    for slots in (
        [("iron_ore", 1), ("coal", 1), ("stone", 1)],
        [("iron_ore", 1), ("coal", 1), ("iron_ingot", 64)],
        [("dirt", 1), ("coal", 1), None],
        [("iron_ore", 1), ("iron_ore", 1), None],
        [None, ("coal", 1), None],
    ):
        before = list(slots)
        furnace = burn(slots, 300)
        assert slots == before
        assert furnace.burn == 0


def test_progress_is_lost_when_the_input_goes_and_cools_without_fire():
    slots = [("iron_ore", 1), ("coal", 1), None]
    furnace = burn(slots, 150)
    raw, slots[INPUT] = slots[INPUT], None
    burn(slots, 1, furnace)
    assert furnace.progress == 0
    slots[INPUT] = raw
    furnace.burn = 0
    furnace.progress = 100
    burn(slots, 10, furnace)
    assert furnace.progress == 80


def test_an_idle_furnace_is_skipped_only_when_a_tick_changes_nothing():
    for slots, burning, progress in (
        ([None, None, None], 0, 0), ([("sand", 1), None, None], 0, 0), ([None, ("coal", 1), None], 0, 0),
    ):  # fmt: skip
        furnace = Furnace()
        furnace.burn, furnace.progress = burning, progress
        assert furnace.idle(slots)
        before = (list(slots), furnace.save())
        furnace.tick(slots)
        assert (slots, furnace.save()) == before
    furnace.burn = 1
    assert not furnace.idle([None, None, None])


def at_furnace(stacks):
    """An open furnace window, the stacks in the hotbar."""
    setup = {"blocks": [["furnace", 3]]}
    ENV.reset(Task(name="t", category="t", instruction="", env="craftworld", setup=setup, max_ticks=100_000), 4)
    world = ENV.world
    cell = next(c for c, state in world.grid.changed_cells() if state == intern("furnace"))
    for i, stack in enumerate(stacks):
        world.inventory.own[i] = stack
    world.inventory.open("furnace", cell)
    return world, cell


def test_smelting_goes_on_while_the_window_is_shut_and_taking_is_the_event():
    world, cell = at_furnace([("iron_ore", 3), ("coal", 2)])
    control, mouse = ENV.interface("control"), motor.Limits(6, 300)
    for index in (0, 1):
        while world.inventory.stacks()[index] is not None:
            raw = motor.click_slot(world, PLAYER_SLOTS["furnace"][index], "left", mouse, shift=True)
            control.step(raw.keys, raw.buttons, raw.camera)
    control.step(("e",))
    for _ in range(450):
        control.step()
    assert not [e for e in ENV.events if e.kind == "smelt_item"]
    assert world.inventory.contents(cell) == (("iron_ore", 1), ("coal", 1), ("iron_ingot", 2))
    world.inventory.open("furnace", cell)
    while not ENV.world.inventory.totals().get("iron_ingot"):
        raw = motor.click_slot(world, OUTPUT, "left", mouse, shift=True)
        control.step(raw.keys, raw.buttons, raw.camera)
    assert [(e.name, e.count) for e in ENV.events if e.kind == "smelt_item"] == [("iron_ingot", 2)]


def test_a_broken_furnace_gives_back_what_it_held():
    world, cell = at_furnace([])
    world.inventory.window.slots[:3] = [("iron_ore", 3), ("coal", 2), ("iron_ingot", 1)]
    world.inventory.close()
    assert sorted(world.inventory.empty_out(cell)) == [("coal", 2), ("iron_ingot", 1), ("iron_ore", 3)]
    assert world.inventory.contents(cell) == ()


def test_a_drag_under_way_cannot_bring_back_what_was_smelted():
    world, _ = at_furnace([("sand", 8)])
    inventory = world.inventory
    window = inventory.window
    window.slots[:3] = [("sand", 1), ("coal", 1), None]
    window.cursor = ("dirt", 4)
    free = [s for s in PLAYER_SLOTS["furnace"] if window.slots[s] is None]
    inventory.cursor = tuple(c + o for c, o in zip(inventory.cursor, inventory.slot_offset(free[0]), strict=True))
    inventory.press("right", False, 0)
    assert inventory.dragging
    for _ in range(200):
        inventory.tick_furnaces()
    assert window.slots[OUTPUT] == ("glass", 1)
    inventory.drag([free[1]])
    assert window.slots[INPUT] is None
    assert window.slots[OUTPUT] == ("glass", 1)


def test_a_snapshot_holds_the_fire():
    world, cell = at_furnace([])
    world.inventory.window.slots[:2] = [("sand", 5), ("coal", 1)]
    control = ENV.interface("control")
    for _ in range(50):
        control.step()
    saved, hashed = ENV.snapshot(), ENV.state_hash()
    for _ in range(300):
        control.step()
    later = ENV.state_hash()
    ENV.restore(saved)
    assert ENV.state_hash() == hashed
    assert world.inventory.furnaces[cell].progress == 50
    for _ in range(300):
        control.step()
    assert ENV.state_hash() == later
