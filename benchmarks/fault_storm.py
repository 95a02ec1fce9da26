"""A storm of faults: worlds that raise, hang, exit, are killed, give garbage or leak, each in a random 5 % of 500 episodes.

    python benchmarks/fault_storm.py [--episodes 500] [--repeats 3] [--out benchmarks/fault_storm]

The same episodes are played with and without faults, by turns. A tick takes 20 ms as a sleep, so that a turn lasts 80 ms:
worlds wait, as a game at 20 ticks a second does, more than they compute. Exit code 1 when an episode is unaccounted for, a
trajectory mixes two worlds, a process is left, memory grows, or throughput falls below 60 % of that without faults.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, get_args

import psutil

from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.plugin import ActionSpaceSpec, SamplingParams
from crossagent.rollout.loop import Episode, Timing, play
from crossagent.seeding import derive
from crossagent.testing import ScriptedSampler, ToySuite, faulty_environment
from crossagent.testing.faulty import Fault, storm_of
from crossagent.types import StopReason, Trajectory

ROOT = Path(__file__).parents[1]
SPACE = (
    ActionSpaceSpec("control", "1", ("control",), "Action:", "crossagent_control.space:ControlSpace"),
    {"ticks": 4},
)
SAID, EOT, LATEST = "Action: press(a)", 0, 12
LIMIT, GROWTH_MB = 0.6, 64


class Letters:
    """A prompt format whose tokens are letters."""

    headers: ClassVar = {"control": "Action:"}

    def prompt_ids(self, instruction: str, spaces: Any, history: Any, observation: str) -> tuple[int, ...]:
        return tuple(map(ord, observation))

    def response_ids(self, text: str, space: str) -> tuple[int, ...]:
        return (*map(ord, text), EOT)

    def forced_ids(self, space: str) -> tuple[int, ...]:
        return tuple(map(ord, self.headers[space]))

    def grammar(self, spaces: Any) -> str:
        return ""

    def decode(self, response_ids: Any) -> str:
        return "".join(chr(i) for i in response_ids if i != EOT)


def storm(
    episodes: int,
    share: float,
    *,
    workers: int = 8,
    worlds: int = 2,
    tick_s: float = 0.02,
    timeout_s: float = 1.5,
    memory_mb: int = 256,
    seed: int = 0,
) -> dict[str, Any]:
    """Play ``episodes`` with each fault in ``share`` of them; return what came of it."""
    task = replace(ToySuite().get("get:apple"), max_turns=8)
    listed = [Episode(task, derive(seed, "storm", n), n, 0, ("control",)) for n in range(episodes)]
    options = {"storm": share, "seeds": [], "tick": LATEST, "tick_s": tick_s, "signed": True}
    config = WorldConfig(faulty_environment(), options, (SPACE,))
    timing, me, begun = Timing(), psutil.Process(), time.monotonic()
    with WorkerPool(
        config, workers, worlds, timeout_s, reset_timeout_s=10.0, memory_mb=memory_mb, retries=10, max_failed=1.0
    ) as pool:
        started = time.monotonic()
        played = play(
            listed,
            pool=pool,
            sampler=ScriptedSampler(lambda request: tuple(map(ord, SAID)), eot_id=EOT),
            prompt=Letters(),
            params=SamplingParams(max_new_tokens=48),
            seed=seed,
            step=0,
            timing=timing,
            schedule="async",
        )
        seconds = time.monotonic() - started
        restarts, workers_mb = pool.restarts, sum(one.memory_mb for one in pool.health())
        failures = dict(pool.failures)
    left = [
        child for child in me.children(recursive=True) if child.status() == psutil.STATUS_ZOMBIE or child.is_running()
    ]
    dropped = Counter(t.failure.split(":")[0] for t in played if t.stop_reason is StopReason.failure)
    struck = Counter(fault for e in listed if share and (fault := storm_of(e.seed, share, LATEST)[0]))
    return {
        "attempted": len(listed),
        "finished": sum(t.stop_reason is not StopReason.failure for t in played),
        "dropped": dict(dropped),
        "struck": {kind: struck[kind] for kind in get_args(Fault)},
        "retried": timing.retried,
        "failed_attempts": failures,
        "restarts": restarts,
        "mixed": sum(len(worlds_of(t)) > 1 for t in played),
        "processes_left": len(left),
        "workers_mb": round(workers_mb, 1),
        "own_mb": round(me.memory_info().rss / 2**20, 1),
        "seconds": round(seconds, 2),
        "start_seconds": round(started - begun, 2),
        "episodes_per_second": round(len(listed) / seconds, 2),
    }


def worlds_of(trajectory: Trajectory) -> set[str]:
    """Return the names of the worlds that a trajectory's observations are signed with."""
    return {turn.observation.split(";")[0].split()[-1] for turn in trajectory.turns}


def complaints(row: dict[str, Any]) -> list[str]:
    """Return what is wrong with one storm."""
    wrong = []
    if row["attempted"] != row["finished"] + sum(row["dropped"].values()):
        wrong.append("an episode is unaccounted for")
    if row["mixed"]:
        wrong.append(f"{row['mixed']} trajectories mix two worlds")
    if row["processes_left"]:
        wrong.append(f"{row['processes_left']} processes are left")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/fault_storm")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    about = {
        "command": f"python benchmarks/fault_storm.py --episodes {args.episodes} --repeats {args.repeats}",
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    rows, ratios, wrong = [], [], []
    storm(20, 0.0)  # what the first use of anything takes is nobody's growth
    for repeat in range(args.repeats):
        pair = {}
        for kind, share in (("calm", 0.0), ("storm", 0.05)):
            load = os.getloadavg()[0]
            pair[kind] = row = {
                "kind": kind,
                "seed": repeat,
                **storm(args.episodes, share, seed=repeat),
                "load": load,
                **about,
            }
            rows.append(row)
            wrong += [f"{kind} {repeat}: {text}" for text in complaints(row)]
            print({k: v for k, v in row.items() if k not in about}, flush=True)
        ratios.append(pair["storm"]["episodes_per_second"] / pair["calm"]["episodes_per_second"])
    grown = rows[-1]["own_mb"] - rows[1]["own_mb"]
    if grown > GROWTH_MB:
        wrong.append(f"the main process grew by {grown:.0f} MiB from the first storm to the last")
    if statistics.median(ratios) < LIMIT:
        wrong.append(
            f"throughput {statistics.median(ratios):.0%} of that without faults; expected at least {LIMIT:.0%}"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = ", ".join(f"{ratio:.0%}" for ratio in ratios)
    print(
        f"throughput with faults: {shown} of that without (median {statistics.median(ratios):.0%}); memory +{grown:.1f} MiB"
    )
    print("\n".join(wrong) or "every episode is accounted for, no trajectory mixes worlds, no process is left")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
