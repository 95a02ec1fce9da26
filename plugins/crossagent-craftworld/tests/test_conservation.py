"""Items are conserved: outside five named places no action, however odd, creates or loses one.

The places: a block's loot, a mob's loot, a craft (what the recipe takes and makes), a smelt (likewise) and placing a
block. Each is recorded where it happens; whatever else happens, the count of every item must follow from the record.
"""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossagent.plugin import Task
from crossagent_craftworld import digging, hands, mobs
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.furnace import Furnace
from crossagent_craftworld.interfaces import BUTTONS, KEYS
from crossagent_craftworld.inventory import Inventory
from crossagent_craftworld.palette import NAMES
from crossagent_minecraft_data import recipes
from crossagent_minecraft_data.cooking import fuel_ticks, smelts
from crossagent_minecraft_data.windows import Window, slot_names

ENV = CraftWorld()
BUSY = {
    "hand": "iron_pickaxe",
    "inventory": [
        ["oak_planks", 20], ["stick", 9], ["oak_log", 5], ["sand", 70], ["coal", 3], ["lava_bucket", 1], ["cake", 1],
        ["milk_bucket", 3], ["oak_door", 2], ["egg", 20], ["wheat", 6], ["sugar", 3], ["iron_helmet", 1], ["poppy", 2],
    ],
    "blocks": [["crafting_table", 3], ["chest", 3], ["furnace", 3]],
    "mobs": [["chicken", 3], ["zombie", 6]],
    "resistance": 5,
}  # fmt: skip


def stacks_of(world):
    """Every stack there is, wherever it lies; of a crafting window not the result, which is nobody's yet."""
    inventory = world.inventory
    window = inventory.window
    out = [*inventory.worn] if window is None or window.kind != "inventory" else []
    if window is None:
        out += inventory.own
    else:
        out += [window.cursor, *window.slots[1 if window.grid_width else 0 :]]
    open_at = inventory.at if window is not None else None
    for cell in {*inventory.chests, *inventory.furnaces} - {open_at}:
        out += inventory.contents(cell)
    return [*out, *((d.item, d.count) for d in world.drops)]


def count(world):
    total = Counter()
    for stack in stacks_of(world):
        if stack is not None:
            assert stack[1] >= 1
            total[stack[0]] += stack[1]
    return total


class Record:
    """What the five places made and took."""

    def __init__(self, monkeypatch):
        self.change = Counter()
        self.places = Counter()
        consume, tick, take = Window._consume, Furnace.tick, Inventory.take_held
        block, mob, use = digging.block_drops, mobs.mob_drops, hands._use
        record = self

        def loot(name, drops):
            record.places[name] += 1
            record.change.update(dict(Counter({i: 0 for i, _ in drops})))
            for item, n in drops:
                record.change[item] += n
            return drops

        def crafted(window, events):
            width = window.grid_width
            cells = [s[0] if s else None for s in window.slots[1 : 1 + width * width]]
            made = recipes.match(cells, width)
            record.places["craft"] += 1
            record.change[made.result] += made.count
            for cell, left in zip(cells, made.leftovers, strict=True):
                record.change[cell] -= cell is not None
                if left is not None:
                    record.change[left] += 1
            return consume(window, events)

        def smelted(furnace, slots):
            before = list(slots[:3])
            changed = tick(furnace, slots)
            if before[1] != slots[1]:
                assert fuel_ticks(before[1][0]) == furnace.burn_total
                record.change[before[1][0]] -= 1
                record.change["bucket"] += before[1][0] == "lava_bucket"
            if before[2] != slots[2]:
                record.places["smelt"] += 1
                record.change[before[0][0]] -= 1
                record.change[smelts(before[0][0])] += 1
            return changed

        placing = []

        def used(world):
            placing.append(True)
            use(world)
            placing.pop()

        def taken(inventory, n):
            stack = take(inventory, n)
            if placing and stack is not None:
                record.places["place"] += 1
                record.change[stack[0]] -= stack[1]
            return stack

        monkeypatch.setattr(Window, "_consume", crafted)
        monkeypatch.setattr(Furnace, "tick", smelted)
        monkeypatch.setattr(Inventory, "take_held", taken)
        monkeypatch.setattr(hands, "_use", used)
        monkeypatch.setattr(digging, "block_drops", lambda *a: loot("block", block(*a)))
        monkeypatch.setattr(mobs, "mob_drops", lambda *a: loot("mob", mob(*a)))


def start(seed):
    ENV.reset(Task(name="t", category="t", instruction="", env="craftworld", setup=BUSY, max_ticks=10**6), seed)
    world = ENV.world
    if seed % 2:  # nothing finds room: what is let go must land in the world
        world.inventory.own = [stack or ("cobblestone", 64) for stack in world.inventory.own]
    return world


def blocks(world, *names):
    return [cell for cell, state in world.grid.changed_cells() if NAMES[state] in names]


def check(world, before, record):
    expected = Counter(before)
    expected.update(record.change)
    assert count(world) == +expected
    assert not -expected


_junk = st.one_of(st.none(), st.integers(), st.text(max_size=4), st.floats(), st.booleans())
_keys = st.lists(st.sampled_from(KEYS), max_size=4) | st.lists(_junk, max_size=3)
_buttons = st.lists(st.sampled_from(BUTTONS), max_size=2) | st.lists(_junk, max_size=2)
_camera = st.tuples(st.integers(-320, 320), st.integers(-320, 320)) | st.tuples(_junk, _junk) | _junk
_slot = st.tuples(st.just("slot"), st.integers(0, 62), st.sampled_from(["left", "right", "none"]), _keys)
_open = st.tuples(st.just("open"), st.sampled_from(["inventory", "crafting_table", "chest", "furnace"]))
_break = st.tuples(st.just("break"), st.sampled_from(["crafting_table", "chest", "furnace"]))
_step = st.tuples(st.just("step"), _keys, _buttons, _camera)
_action = st.one_of(_step, _slot, _slot, _slot, _open, _open, _break)


def act(world, action):
    control, inventory = ENV.interface("control"), world.inventory
    if action[0] == "step":
        control.step(*action[1:])
    elif action[0] == "break":
        if inventory.window is None:
            for cell in blocks(world, action[1]):
                digging.destroy(world, cell, None)
    elif action[0] == "open":
        if inventory.window is None:
            at = next(iter(blocks(world, action[1])), None)
            if at is not None or action[1] == "inventory":
                inventory.open(action[1], at)
    elif inventory.window is not None:
        slot = action[1] % len(slot_names(inventory.window.kind))
        control.step(action[3], [action[2]], inventory.slot_offset(slot))


@settings(max_examples=60, deadline=None)
@given(st.lists(_action, max_size=40), st.integers(0, 3))
def test_no_action_raises_or_makes_or_loses_an_item(actions, seed):
    with pytest.MonkeyPatch.context() as patch:
        record, world = Record(patch), start(seed)
        before = count(world)
        for action in actions:
            act(world, action)
            check(world, before, record)
        ENV.observe()
        snapshot = ENV.snapshot()
        for action in actions[:10]:
            act(world, action)
        ENV.restore(snapshot)
        assert count(world) == count(ENV.world)


def fill_grid(world):
    """Lay logs or planks in the grid, so that clicks find a result to take."""
    window = world.inventory.window
    if window is None or not window.grid_width:
        return
    for slot in range(10, 45):
        stack = window.slots[slot]
        if stack is not None and stack[0] in ("oak_log", "oak_planks") and window.slots[1] is None:
            window.slots[1], window.slots[slot] = stack, None
            window._update_result()


def test_long_play_uses_every_place_and_keeps_the_count(monkeypatch):
    record = Record(monkeypatch)
    rng = random.Random(5)
    control = ENV.interface("control")
    for seed in range(4):
        world = start(seed)
        record.change.clear()
        before = count(world)
        for _ in range(400):
            window = world.inventory.window
            if window is not None:
                slot = rng.randrange(10) if rng.random() < 0.5 else rng.randrange(63)
                slot = 0 if window.grid_width and window.slots[0] is not None and rng.random() < 0.5 else slot
                keys = [k for k in ("left.shift", "q", "3", "escape") if rng.random() < 0.04]
                act(world, ("slot", slot, rng.choice(["left", "right", "none"]), keys))
            elif rng.random() < 0.1:
                act(world, ("open", rng.choice(["inventory", "crafting_table", "chest", "furnace", "furnace"])))
                fill_grid(world)
            elif rng.random() < 0.1:  # dig where one stands
                world.pitch, world.moved = 500, world.moved + 1
                for _ in range(20):
                    control.step([], ["left"])
            elif rng.random() < 0.01:
                act(world, ("break", rng.choice(["chest", "furnace"])))
            elif world.mobs and rng.random() < 0.05:  # a mob before the crosshair, so that the blow lands
                control.step()
                b, me = world.mobs[0].body, world.body
                b.x, b.y, b.z = me.x, me.y, me.z + 1.2
                world.mobs[0].health = 1.0
                world.yaw, world.pitch, world.moved = 0, 300, world.moved + 1
                control.step([], ["left"])
            else:
                keys = [k for k in ("w", "q", "f", *"123456789") if rng.random() < 0.1]
                control.step(
                    keys, [b for b in BUTTONS if rng.random() < 0.6], (rng.randrange(-40, 41), rng.randrange(-9, 30))
                )
            check(world, before, record)
    assert min(record.places[place] for place in ("block", "craft", "place", "mob")) > 0, record.places


def test_smelting_is_in_the_record(monkeypatch):
    record, world = Record(monkeypatch), start(1)
    before = count(world)
    world.inventory.open("furnace", blocks(world, "furnace")[0])
    slots = world.inventory.window.slots
    for name, slot in (("sand", 0), ("lava_bucket", 1)):
        source = next(i for i, s in enumerate(slots) if s is not None and s[0] == name)
        slots[slot], slots[source] = slots[source], None
    for _ in range(450):
        ENV.interface("control").step()
    check(world, before, record)
    assert record.places["smelt"] == 2
    assert count(world)["bucket"] == 1
