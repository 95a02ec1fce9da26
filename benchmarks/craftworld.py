"""How fast CraftWorld is on one core: ``python benchmarks/craftworld.py [--json FILE]``.

The default scene is the environment's: 48 × 20 × 48 blocks, with three mobs (cow, sheep, zombie) that see the player.
Times are of this process's CPU (``time.process_time``), the best of several repeats, so that other work on the machine
counts little; the load average is printed beside them. Text is that of an observation with its default options.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from pathlib import Path

from crossagent.plugin import RawTick, Task
from crossagent_craftworld import terrain
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.interfaces import BUTTONS

MOBS = ["cow", "sheep", "zombie"]
REPEATS = 7
PROTOCOL_SERVER = {
    "server and bot in one process, ticks/s": "650–1,150",
    "from Python with text, steps/s": "210–650",
    "from Python with 224×224 ray-cast pixels, steps/s": "86",
}
"""Figures of a Minecraft-protocol server (flying-squid 1.12.0 with mineflayer 4.39.0, 1.16.5) on such a machine, under fake
timers. Reported by the project's platform notes, not measured by this script: it would need Node and 500 MB of packages.
"""
TARGETS = {
    "ticks_per_s_random": (20_000, "≥"),
    "ticks_per_s_walking": (20_000, "≥"),
    "ticks_per_s_idle": (20_000, "≥"),
    "turns_per_s_text": (3_000, "≥"),
    "reset_seen_ms": (5.0, "≤"),
    "reset_new_ms": (50.0, "≤"),
    "reset_new_biomes_ms": (50.0, "≤"),
    "world_mb": (60.0, "≤"),
    "frames_per_s_640x360": (30, "≥"),
    "frames_per_s_128x72": (300, "≥"),
    "frames_per_s_64x64": (300, "≥"),
    "frames_per_s_128x72_window": (300, "≥"),
    "reset_seen_pixels_ms": (5.0, "≤"),
    "reset_new_pixels_ms": (50.0, "≤"),
    "world_pixels_mb": (60.0, "≤"),
}
CRAFTER = """
import time, crafter, numpy as np
env = crafter.Env(area=(64, 64), view=(9, 9), size=({size}, {size}), seed=0)
env.reset()
rng = np.random.RandomState(0)
actions = rng.randint(0, 17, 200)
best = 9.0
for repeat in range(5):
    env.reset()
    start = time.process_time()
    for action in actions:
        if env.step(action)[2]:
            env.reset()
    best = min(best, (time.process_time() - start) / len(actions))
print(1 / best)
"""
"""Steps per second of Crafter, which draws a picture every step and has no other mode."""


def task() -> Task:
    setup = {"hand": "iron_pickaxe", "mobs": [[kind, 5 + i] for i, kind in enumerate(MOBS)], "resistance": 5}
    return Task("benchmark", "benchmark", "", "craftworld", setup=setup, max_ticks=10**9)


def best(run, n: int) -> float:
    """Seconds of CPU for one of ``n`` runs, the best of several repeats."""
    seconds = []
    for repeat in range(REPEATS):
        start = time.process_time()
        run(repeat)
        seconds.append((time.process_time() - start) / n)
    return min(seconds)


def ticks_per_s(make, n: int = 3000) -> float:
    env = CraftWorld()
    rng = random.Random(0)
    raws = [make(i, rng) for i in range(n)]

    def run(repeat: int) -> None:
        env.reset(task(), repeat % 2)
        world = env.world
        for raw in raws:
            world.tick(raw)

    return 1 / best(run, n)


def idle(i: int, rng: random.Random) -> RawTick:
    return RawTick()


def walking(i: int, rng: random.Random) -> RawTick:
    """Walks about: forward most of the time, jumping now and then, turning by up to 18 pixels a tick."""
    keys = ("w", "space") if rng.random() < 0.1 else ("w",) if i % 40 < 30 else ()
    return RawTick(keys, (), (6 * rng.randrange(-3, 4), 0))


def anything(i: int, rng: random.Random) -> RawTick:
    keys = tuple(k for k in ("w", "a", "s", "d", "space") if rng.random() < 0.3)
    buttons = tuple(b for b in BUTTONS if rng.random() < 0.3)
    return RawTick(keys, buttons, (6 * rng.randrange(-9, 10), 6 * rng.randrange(-9, 10)))


def turns_per_s(n: int = 800) -> float:
    """Turns of the control space's default: four ticks of one hold, then the text."""
    env = CraftWorld()
    control = env.interface("control")
    rng = random.Random(1)
    holds = [(("w",) if rng.random() < 0.5 else (), (6 * rng.randrange(-9, 10), 0)) for _ in range(n)]

    def run(repeat: int) -> None:
        env.reset(task(), repeat % 2)
        for keys, camera in holds:
            control.step(keys, (), camera)
            for _ in range(3):
                control.step(keys)
            env.observe()

    return 1 / best(run, n)


def frames_per_s(size: tuple[int, int], n: int, window: bool = False) -> float:
    """Ticks with a picture each: walking about, or moving the cursor over an open window."""
    env = CraftWorld(observation="pixels", image_size=size)
    rng = random.Random(2)
    raws = [walking(i, rng) for i in range(n)]

    def run(repeat: int) -> None:
        env.reset(task(), repeat % 2)
        if window:
            env.tick(RawTick(("e",)))
        for raw in raws:
            env.tick(RawTick((), (), raw.camera) if window else raw)
            env.observe()

    run(0)
    return 1 / best(run, n)


def crafter_per_s(python: Path, size: int) -> float:
    out = subprocess.run(
        [python, "-W", "ignore", "-c", CRAFTER.format(size=size)], check=True, capture_output=True, text=True
    )
    return float(out.stdout)


def reset_seen_ms(n: int = 100, **options) -> float:
    env = CraftWorld(scenes=1, **options)

    def run(repeat: int) -> None:
        for seed in range(n):
            env.reset(task(), seed)

    run(0)
    return 1000 * best(run, n)


def reset_new_ms(n: int = 20, **options) -> float:
    env = CraftWorld(scenes=65536, **options)

    def run(repeat: int) -> None:
        terrain.scene.cache_clear()
        for seed in range(n):
            env.reset(task(), repeat * n + seed)

    return 1000 * best(run, n)


def world_mb(n: int = 20, options: str = "") -> float:
    """Growth of the resident set per world, all on scenes of their own, after some play and with a look round."""
    code = f"""
import sys; sys.path[:] = {sys.path!r}
import craftworld as b
def rss():
    return int(open('/proc/self/statm').read().split()[1]) * {os.sysconf("SC_PAGE_SIZE")}
first = b.CraftWorld(scenes=65536, {options}); first.reset(b.task(), 10_000)
before, worlds = rss(), []
for i in range({n}):
    env = b.CraftWorld(scenes=65536, {options}); env.reset(b.task(), i); worlds.append(env)
    for k in range(200): env.interface('control').step(('w',), ('left',), (6, 6))
    env.observe()
print((rss() - before) / {n} / 2**20)
"""
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, check=True, capture_output=True, text=True
    )
    return float(out.stdout)


def measure() -> dict[str, float]:
    return {
        "ticks_per_s_random": ticks_per_s(anything),
        "ticks_per_s_walking": ticks_per_s(walking),
        "ticks_per_s_idle": ticks_per_s(idle),
        "turns_per_s_text": turns_per_s(),
        "reset_seen_ms": reset_seen_ms(),
        "reset_new_ms": reset_new_ms(),
        "reset_new_biomes_ms": reset_new_ms(terrain="biomes"),
        "world_mb": world_mb(),
        "frames_per_s_640x360": frames_per_s((640, 360), 40),
        "frames_per_s_128x72": frames_per_s((128, 72), 300),
        "frames_per_s_64x64": frames_per_s((64, 64), 300),
        "frames_per_s_128x72_window": frames_per_s((128, 72), 300, window=True),
        "reset_seen_pixels_ms": reset_seen_ms(observation="pixels", image_size=(128, 72)),
        "reset_new_pixels_ms": reset_new_ms(observation="pixels", image_size=(128, 72)),
        "world_pixels_mb": world_mb(options="observation='pixels'"),
    }


def commit() -> str:
    """Return the commit this was measured at, with a + when files differ from it."""
    run = ["git", "describe", "--always", "--dirty=+", "--match="]
    return subprocess.run(run, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the row to this file too")
    parser.add_argument(
        "--crafter", type=Path, metavar="PYTHON", help="an interpreter that has crafter 1.8.3: measure it beside"
    )
    options = parser.parse_args()
    load = os.getloadavg()[0]
    values = measure()
    print(f"48 × 20 × 48 blocks, mobs: {', '.join(MOBS)}; CPU seconds; load {load:.1f} on {os.cpu_count()} CPUs")
    for name, value in values.items():
        target, sign = TARGETS[name]
        met = value >= target if sign == "≥" else value <= target
        print(f"{name:26} {value:12.2f}   {sign} {target:g}   {'met' if met else 'NOT met'}")
    if options.crafter is not None:
        for size in (64, 128):
            values[f"crafter_per_s_{size}x{size}"] = crafter_per_s(options.crafter, size)
            print(f"{f'crafter_per_s_{size}x{size}':26} {values[f'crafter_per_s_{size}x{size}']:12.2f}")
    print("a Minecraft-protocol server, as reported: " + "; ".join(f"{k}: {v}" for k, v in PROTOCOL_SERVER.items()))
    if options.json is not None:
        row = {
            "command": "python benchmarks/craftworld.py", "commit": commit(), "python": platform.python_version(),
            "machine": platform.machine(), "load": load, **values, "protocol_server_reported": PROTOCOL_SERVER,
        }  # fmt: skip
        options.json.write_text(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
