"""Under every option of the world nothing raises, and a state is the same through a snapshot and in another process."""

import os
import random
import subprocess
import sys
from contextlib import suppress

import pytest

from crossagent.plugin import SkillFailed
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.interfaces import BUTTONS, KEYS, TAPS
from crossagent_craftworld.suite import suite

OPTIONS = [
    {"level": 2, "terrain": "biomes", "skills": "full", "hunger": True, "difficulty": "hard"},
    {"level": 3, "skills": "full", "day_night": True},
    {"terrain": "biomes", "day_night": True, "difficulty": "peaceful", "tasks": "all"},
]
TASKS = ["kill_entity:creeper", "mine_block:oak_door", "smelt_item:iron_ingot", "kill_entity:wither"]
NAMES = [
    "oak_log",
    "creeper",
    "furnace",
    "crafting_table",
    "",
    "drop_dirt",
    "iron_ingot",
    "apple",
    "no such thing",
    "e" * 99,
]


def act(env, rng):
    roll = rng.random()
    if roll < 0.75:
        keys = [k for k in KEYS if rng.random() < 0.15]
        buttons = [b for b in BUTTONS if rng.random() < 0.4]
        env.interface("control").step(keys, buttons, (rng.randrange(-400, 401), rng.randrange(-200, 201)))
    elif roll < 0.9:
        pointer = env.interface("pointer")
        pointer.move_to(rng.randrange(-50, 700), rng.randrange(-50, 400))
        rng.choice([
            lambda: pointer.click(rng.choice(["left", "right", "x"]), rng.randrange(-1, 4), rng.choice([[], ["shift"], ["?"]])),
            lambda: pointer.drag(rng.randrange(640), rng.randrange(360), "right"),
            lambda: pointer.press(rng.choice([*TAPS, "nothing"])), lambda: pointer.scroll(rng.randrange(-20, 20)),
        ])()  # fmt: skip
    else:
        skills = env.interface("skills")
        spec = rng.choice(skills.list())
        names = [rng.choice(NAMES) for _ in range(rng.choice([len(spec.params), 3]))]
        with suppress(SkillFailed):
            skills.call(rng.choice([spec.name, "fly"]), *names)


def hashes(options, task, seed, turns=60, snap=0):
    env, rng = CraftWorld(**options), random.Random(seed)
    env.reset(suite(tasks="all").get(task), seed)
    out = []
    for turn in range(turns):
        if snap and turn % snap == 0:
            state = rng.getstate()
            snapshot = env.snapshot()
            for _ in range(5):
                act(env, rng)
            env.restore(snapshot)
            rng.setstate(state)
        act(env, rng)
        env.observe()
        env.anchor_key()
        out.append(env.state_hash())
    return out


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("task", TASKS)
def test_anything_goes_and_snapshots_are_exact(options, task):
    plain = hashes(options, task, 3)
    assert hashes(options, task, 3, snap=20) == plain


def test_equal_in_another_process():
    code = (
        f"import sys; sys.path[:] = {[os.path.dirname(__file__), *sys.path]!r}; import test_options as t;"
        "print([t.hashes(o, 'kill_entity:creeper', 5, 25)[-1] for o in t.OPTIONS])"
    )
    run = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONHASHSEED": "77"}
    other = subprocess.run(run, check=True, capture_output=True, text=True, env=env).stdout.strip()
    assert other == str([hashes(o, "kill_entity:creeper", 5, 25)[-1] for o in OPTIONS])
