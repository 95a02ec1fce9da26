"""The server's windows against crossagent_minecraft_data's: random clicks leave both in the same state."""

import json
import random
import shutil
import subprocess

import pytest

from crossagent_minecraft.facts import collect
from crossagent_minecraft.node import sources
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.windows import KINDS, Window, slot_names

ITEMS = (
    "oak_planks",
    "stick",
    "oak_log",
    "cobblestone",
    "iron_ore",
    "coal",
    "bucket",
    "iron_helmet",
    "diamond_sword",
    "egg",
)
SCRIPT = """
const { Window, Recipes } = require(process.argv[1] + '/windows.js')
const input = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const f = input.facts
const rules = { recipes: new Recipes(f.recipes, f.leftovers), smelts: f.smelts, fuel: f.fuel, worn: f.worn, stack: i => input.stacks[i] || 64 }
process.stdout.write(JSON.stringify(input.cases.map(c => {
  const w = new Window(c.kind, c.slots, rules)
  return c.clicks.map(([mode, button, slot]) => { w.click(mode, button, slot); return [w.slots.slice(), w.cursor] }).concat([(w.close(), [w.slots, w.cursor])])
})))
"""


def play(kind, slots, clicks):
    """What Python's window makes of the same clicks."""
    window, out = Window(kind, [tuple(s) if s else None for s in slots]), []
    dragged = []
    for mode, button, slot in clicks:
        if mode in (0, 1):
            window.click(slot, "left" if button == 0 else "right", shift=mode == 1)
        elif mode == 2:
            window.swap_hotbar(slot, button + 1)
        elif mode == 4:
            window.drop(slot, all=button == 1)
        elif mode == 6:
            window.double_click(slot)
        elif button in (1, 5):
            dragged.append(slot)
        elif button in (0, 4):
            dragged = []
        else:
            window.drag(dragged, "left" if button == 2 else "right")
        out.append([list(window.slots), window.cursor])
    window.close()
    return [*out, [list(window.slots), window.cursor]]


def cases(rng, count):
    for _ in range(count):
        kind = rng.choice(KINDS)
        size = len(slot_names(kind))
        filled = {s: rng.choice(ITEMS) for s in range(size) if rng.random() < 0.3}
        if kind == "furnace":
            filled.pop(2, None)
        grid = {"inventory": 5, "crafting_table": 10}.get(kind, 0)
        slots = [
            [filled[s], rng.randint(1, stack_size(filled[s]))]
            if s in filled and s >= grid + 4 * (kind == "inventory")
            else None
            for s in range(size)
        ]
        clicks = []
        for _ in range(20):
            mode = rng.choice((0, 0, 0, 0, 1, 2, 4, 5, 6))
            slot = rng.randrange(size)
            if mode == 5:
                right = rng.choice((0, 4))
                clicks += [
                    (5, right, -999),
                    *((5, right + 1, rng.randrange(1, size)) for _ in range(rng.randint(1, 4))),
                    (5, right + 2, -999),
                ]
            else:
                clicks.append(
                    (
                        mode,
                        rng.randrange(9) if mode == 2 else rng.randrange(2) if mode in (0, 1, 4) else 0,
                        slot if mode else rng.choice((slot, slot, slot, -999)),
                    )
                )
        yield {"kind": kind, "slots": slots, "clicks": clicks}


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on the PATH")
def test_random_clicks_do_what_pythons_windows_say():
    rng = random.Random(4)
    given = list(cases(rng, 150))
    facts = collect()
    sent = {"facts": facts, "stacks": {item: stack_size(item) for item in ITEMS} | {"bucket": 16}, "cases": given}
    done = subprocess.run(
        ["node", "-e", SCRIPT, str(sources())], input=json.dumps(sent), capture_output=True, text=True, check=True
    )
    for case, theirs in zip(given, json.loads(done.stdout), strict=True):
        ours = json.loads(json.dumps(play(case["kind"], case["slots"], case["clicks"])))
        for step, (a, b) in enumerate(zip(theirs, ours, strict=True)):
            assert a == b, (case["kind"], case["clicks"][: step + 1])
