"""MiniWoB++: how fast, what its experts solve, what a world costs: ``python benchmarks/miniwob_pages.py [--json FILE]``.

Rates are by the clock of one world in one process, on a machine that may be shared: the load average is printed beside them. A step
is a turn of a policy through its space: the action and the observation after it. Experts play as demonstrations are recorded.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from crossagent.envs.world import World, WorldConfig
from crossagent.plugin import Environment
from crossagent.registry.plugin_set import load_plugins
from crossagent_miniwob.browser import close_shared, shared
from crossagent_miniwob.env import MiniWob
from crossagent_miniwob.experts.plans import PLANS
from crossagent_miniwob.suite import suite

SPACES = ("api", "gui", "control")
SEEDS = range(100, 105)
TARGETS = {
    "experts.api.train_success": (0.95, "≥"),
    "experts.gui.train_success": (0.95, "≥"),
    "experts.control.train_success": (0.95, "≥"),
    "experts.api.train_pages": (30, "≥"),
    "experts.gui.train_pages": (30, "≥"),
    "element_clicks_per_s": (11, "≥"),
    "coordinate_clicks_per_s": (8, "≥"),
}
"""The rates are those of the package's own environment, through WebDriver, on two cores."""


def rate(act: Callable[[Environment], None], page: str, steps: int = 60, **options: str) -> float:
    env = MiniWob(**options)
    rates = []
    for seed in range(3):
        env.reset(suite().get(f"miniwob:{page}"), seed)
        start = time.perf_counter()
        for _ in range(steps):
            act(env)
            env.observe()
        rates.append(steps / (time.perf_counter() - start))
        assert len(env.tick_log) >= steps, "the episode ended early"
    env.close()
    return statistics.median(rates)


def element_click(env: Environment) -> None:
    env.interface("skills").call("click", "field")


def coordinate_click(env: Environment) -> None:
    pointer = env.interface("pointer")
    pointer.move_to(100, 180)
    pointer.click()


def four_ticks(env: Environment) -> None:
    for tick in range(4):
        env.interface("control").step(("a",) if tick % 2 else (), (), (2, 0) if tick == 0 else (0, 0))


def resets(pages: list[str]) -> float:
    env = MiniWob()
    taken = []
    for seed in range(3):
        for page in pages:
            start = time.perf_counter()
            env.reset(suite().get(f"miniwob:{page}"), seed)
            taken.append(time.perf_counter() - start)
    env.close()
    return 1000 * statistics.median(taken)


def memory(worlds: int) -> tuple[float, float]:
    """Return MiB of Chromium with one world, and of each further one; shared pages are counted once each."""

    def used() -> float:
        root, held = psutil.Process(shared().process.pid), 0
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # a helper of Chromium that has just ended
                held += process.memory_full_info().pss
        return held / 2**20

    envs = [MiniWob() for _ in range(worlds)]
    envs[0].reset(suite().get("miniwob:login-user"), 0)
    first = used()
    for env in envs[1:]:
        env.reset(suite().get("miniwob:login-user"), 0)
    rest = (used() - first) / (worlds - 1)
    for env in envs:
        env.close()
    return first, rest


def experts() -> dict[str, dict[str, int]]:
    plugins = load_plugins()
    world = World(
        WorldConfig(env=plugins.environment("miniwob"), spaces=tuple((plugins.space(name), {}) for name in SPACES))
    )
    solved: dict[str, dict[str, int]] = {name: {} for name in SPACES}
    print(f"{'page':32}" + "".join(f"{name:>9}" for name in SPACES) + f"   of {len(SEEDS)}")
    for page in sorted(PLANS):
        task = suite().get(f"miniwob:{page}")
        for name in SPACES:
            solved[name][page] = sum(world.demonstrate(task, seed, [name], seed).success for seed in SEEDS)
        print(f"{page:32}" + "".join(f"{solved[name][page]:>9}" for name in SPACES), flush=True)
    world.close()
    return solved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    train = [task.setup["page"] for task in suite().tasks() if "train" in task.splits]
    figures: dict[str, object] = {
        "element_clicks_per_s": rate(element_click, "enter-text"),
        "coordinate_clicks_per_s": rate(coordinate_click, "enter-text"),
        "coordinate_clicks_per_s_pixels": rate(coordinate_click, "enter-text", observation="pixels"),
        "control_turns_of_4_ticks_per_s": rate(four_ticks, "enter-text"),
        "reset_ms": resets(train),
    }
    figures["memory_mib_browser_and_first_world"], figures["memory_mib_each_world"] = memory(8)
    solved = experts()
    for name, by_page in solved.items():
        figures[f"experts.{name}.train_success"] = sum(by_page[p] for p in train) / (len(train) * len(SEEDS))
        figures[f"experts.{name}.train_pages"] = sum(by_page[p] == len(SEEDS) for p in train)
        figures[f"experts.{name}.pages"] = sum(count == len(SEEDS) for count in by_page.values())
    browser = shared().version
    close_shared()
    for name, value in figures.items():
        target = TARGETS.get(name)
        held = "" if target is None else f"   (target {target[1]} {target[0]})"
        print(f"{name:42}{value:10.3g}{held}")
    print(f"load average {os.getloadavg()[0]:.1f}, {browser}")
    if arguments.json:
        about = {
            "command": "python benchmarks/miniwob_pages.py --json benchmarks/miniwob_pages.json",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "load_average": round(os.getloadavg()[0], 1),
            "browser": browser,
            "episodes_per_page_and_level": len(SEEDS),
        }
        rounded = {name: float(f"{value:.3g}") for name, value in figures.items()}
        arguments.json.write_text(json.dumps({**about, **rounded, "solved": solved}, indent=1) + "\n")


if __name__ == "__main__":
    main()
