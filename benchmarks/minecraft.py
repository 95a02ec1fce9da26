"""Embedded Minecraft: how fast, how much its experts solve, whether it leaks: ``python benchmarks/minecraft.py [--json FILE]``.

Speeds are steps per second of CPU, of this process and the bridge's together: they take turns, so that is what one idle core
gives; the load average is printed beside them. A reset is measured so too, with a world in stock, and by the clock as well.
Experts play through the spaces api (full skills), gui and control with their defaults; a task counts with 3 of 3 seeds.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from crossagent.plugin import EnvironmentSpec, SpaceSet
from crossagent_api import crossagent_action_spaces as api
from crossagent_control import crossagent_action_spaces as control
from crossagent_gui import crossagent_action_spaces as gui
from crossagent_minecraft import crossagent_environments
from crossagent_minecraft.env import Minecraft
from crossagent_minecraft.pool import pool
from crossagent_minecraft.suite import suite

SEEDS = (0, 1, 2)
TARGETS = {
    "steps_per_s_text": (250, "≥"),
    "steps_per_s_pixels_224": (60, "≥"),
    "reset_stocked_ms": (50.0, "≤"),
    "experts.api.craft_item": (40, "≥"),
    "experts.gui.craft_item": (40, "≥"),
    "experts.control.craft_item": (40, "≥"),
    "experts.api.mine_block": (40, "≥"),
    "experts.control.mine_block": (40, "≥"),
    "episodes_without_a_leak": (200, "≥"),
}


def cpu(env: Minecraft) -> float:
    times = psutil.Process(env._link.process.pid).cpu_times()
    return time.process_time() + times.user + times.system


def steps_per_s(steps: int, **options) -> float:
    env = Minecraft(**options)
    rates = []
    for repeat in range(3):
        env.reset(suite().get("mine_block:obsidian"), repeat)
        step, keys, rng = env.interface("control").step, env.interface("control").keys(), random.Random(repeat)
        moves = [k for k in keys if k not in ("e", "escape", "q", "f")]
        for _warm in range(20):
            step(("w",), (), (6, 0))
            env.observe()
        start = cpu(env)
        done = 0
        while done < steps and not env.over:
            step([rng.choice(moves)], ["left"] if done % 3 else [], (6 * rng.randint(-9, 9), 0))
            env.observe()
            done += 1
        rates.append(done / (cpu(env) - start))
    env.close()
    return statistics.median(rates)


def resets(count: int) -> dict[str, float]:
    env, wall, busy = Minecraft(spare=1), [], []
    env.reset(suite().get("craft_item:oak_stairs"), 0)
    for seed in range(1, count + 1):
        while not pool(3).stocked():
            time.sleep(0.02)
        next_one = psutil.Process(next(link for link in pool(3)._stock if link.ready()).process.pid)
        before = time.process_time() + sum(next_one.cpu_times()[:2])
        start = time.perf_counter()
        env.reset(suite().get("craft_item:oak_stairs"), seed)
        wall.append(1000 * (time.perf_counter() - start))
        busy.append(1000 * (time.process_time() + sum(next_one.cpu_times()[:2]) - before))
    env.close()
    return {
        "cpu_median": round(statistics.median(busy), 1),
        "wall_best": round(min(wall), 1),
        "wall_median": round(statistics.median(wall), 1),
    }


def experts(tasks_each: int) -> dict[str, dict[str, object]]:
    from crossagent.envs.world import World, WorldConfig

    (spec,) = crossagent_environments()
    assert isinstance(spec, EnvironmentSpec)
    out: dict[str, dict[str, object]] = {}
    for name, declared in (("api", api), ("gui", gui), ("control", control)):
        world = World(WorldConfig(spec, {"skills": "full"}, tuple((s, {}) for s in declared())))
        assert isinstance(world.spaces, SpaceSet)
        row: dict[str, object] = {}
        for category in ("craft_item", "mine_block"):
            if (name, category) == ("gui", "mine_block"):
                continue  # a click cannot be held: what takes more than one blow is not mined so
            splits = ("train", "demo", "ood")
            tasks = [
                t for t in suite().tasks() if t.category == category and t.solvable and set(t.splits) & set(splits)
            ]
            tasks = tasks[:: max(1, len(tasks) // tasks_each)][:tasks_each]
            solved, failed = 0, {}
            for task in tasks:
                wins = [world.demonstrate(task, seed, [name], 0) for seed in SEEDS]
                solved += all(w.success for w in wins)
                if not all(w.success for w in wins):
                    failed[task.name] = [w.end for w in wins]
            row[category] = {"tasks": len(tasks), "solved_3_of_3": solved, "failed": failed}
            print(f"experts {name} {category}: {solved} of {len(tasks)} tasks, 3 of 3 seeds {failed or ''}", flush=True)
        world.close()
        out[name] = row
    return out


def episodes(count: int) -> dict[str, float]:
    """Play short episodes one after the other; return processes and memory after the first ten and at the end."""
    env, me = Minecraft(), psutil.Process()
    out: dict[str, float] = {}
    for n in range(count):
        env.reset(suite().get("mine_block:oak_log"), n)
        for _ in range(25):
            env.interface("control").step(("w",), ("left",), (6, 0))
        if n in (9, count - 1):
            children = me.children()
            label = "first" if n == 9 else "last"
            out[f"processes_{label}"] = len(children)
            out[f"children_mb_{label}"] = round(sum(c.memory_info().rss for c in children) / 1e6)
            out[f"own_mb_{label}"] = round(me.memory_info().rss / 1e6)
            out[f"open_files_{label}"] = me.num_fds()
    env.close()
    pool(3).close()
    out["episodes"] = count
    out["processes_closed"] = len(me.children())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tasks", type=int, default=45, help="tasks per category")
    parser.add_argument("--only", choices=("speed", "experts", "episodes"))
    chosen = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    row = {
        "command": "python " + " ".join(sys.argv),
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
    }
    if chosen.only in (None, "speed"):
        row["steps_per_s_text"] = round(steps_per_s(400), 1)
        row["steps_per_s_pixels_224"] = round(steps_per_s(150, observation="pixels", image_size=(224, 224)), 1)
        row["reset_stocked_ms"] = resets(20)
        pool(3).close()
    if chosen.only in (None, "episodes"):
        row["episodes_without_a_leak"] = episodes(200)
    if chosen.only in (None, "experts"):
        row["experts"] = experts(chosen.tasks)
    print(json.dumps(row, indent=1))
    print("targets:", "; ".join(f"{name} {sign} {value}" for name, (value, sign) in TARGETS.items()))
    if chosen.json:
        kept = json.loads(chosen.json.read_text()) if chosen.json.exists() and chosen.only else {}
        chosen.json.write_text(json.dumps({**kept, **({chosen.only: row} if chosen.only else row)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
