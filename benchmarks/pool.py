"""What the environment pool costs, and what overlapping sampling and stepping saves.

    python benchmarks/pool.py [--repeats 5] [--out benchmarks/pool]

overhead  one turn of 16 CraftWorld worlds: through the pool (one worker process) against the same worlds in this process, by turns;
          limit 10 % of the turn. Each of four actions is timed 20 times a repeat, as often first in the pool as first here (the
          second of two equal calls in a row finds warm caches), and its lower quartile counts.
overlap   32 slow worlds in four workers (a tick sleeps 6 ms) and a slow sampler (sleeps 6 ms a row): wall time against the larger
          of sampling alone and stepping alone; limit 1.15. Lockstep and async stand beside.

Exit code 1 when a median is above its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from fault_storm import EOT, SAID, SPACE, Letters

from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.plugin import SamplingParams
from crossagent.registry.plugin_set import load_plugins
from crossagent.rollout.loop import Episode, Timing, play
from crossagent.testing import ScriptedSampler, ToySuite, faulty_environment

ROOT = Path(__file__).parents[1]
WORLDS, TURNS = 16, 80
OVERHEAD, OVERLAP = 0.10, 1.15
ACTIONS = ("Action: press(w)", "Action: move(40,0)", "Action: press(w) and click(left)", "Action: press(d)")


def overhead(repeats: int) -> list[dict[str, Any]]:
    """Time turns of 16 CraftWorld worlds in this process and in a worker, by turns."""
    plugins = load_plugins()
    config = WorldConfig(plugins.environment("craftworld"), {}, (SPACE,))
    tasks = [t for t in plugins.suite("craftworld", {}).tasks() if t.solvable][:WORLDS]
    rows = []
    with WorkerPool(config, 0, WORLDS, 60) as here, WorkerPool(config, 1, WORLDS, 60) as there:
        for repeat in range(repeats + 1):
            seconds: dict[str, list[list[float]]] = {name: [[] for _ in ACTIONS] for name in ("here", "there")}
            for pool in (here, there):
                pool.call_many("reset", [(slot, (task, repeat)) for slot, task in enumerate(tasks)])
            for turn in range(TURNS):
                round_, kind = divmod(turn, len(ACTIONS))
                jobs = [(slot, (ACTIONS[kind],)) for slot in range(WORLDS)]
                order = [("here", here), ("there", there)]
                for name, pool in order if round_ % 2 else reversed(order):
                    begun = time.perf_counter()
                    pool.call_many("act", jobs)
                    seconds[name][kind].append(time.perf_counter() - begun)
            if repeat:  # the first warms up
                turn_s = {
                    name: statistics.fmean(sorted(values)[len(values) // 4] for values in kinds)
                    for name, kinds in seconds.items()
                }
                rows.append(
                    {
                        "what": "overhead",
                        "worlds": WORLDS,
                        **{f"{name}_ms": round(1e3 * value, 3) for name, value in turn_s.items()},
                        "share": round(turn_s["there"] / turn_s["here"] - 1, 4),
                    }
                )
    return rows


def timed(schedule: str, tick_s: float, sample_s: float) -> dict[str, float]:
    """Play 32 episodes of 8 turns in 32 slow worlds; return wall seconds, and those of sampling."""
    options = {"tick_s": tick_s, "seeds": []}
    config = WorldConfig(faulty_environment(), options, (SPACE,))
    task = replace(ToySuite().get("get:apple"), max_turns=8)
    listed = [Episode(task, n, n // 8, n % 8, ("control",)) for n in range(32)]
    sampler, timing = ScriptedSampler(lambda request: tuple(map(ord, SAID)), eot_id=EOT), Timing()
    sample = sampler.sample

    def slow_sample(requests: Any, params: Any) -> Any:
        time.sleep(sample_s * len(requests))
        return sample(requests, params)

    sampler.sample = slow_sample  # type: ignore[method-assign]
    with WorkerPool(config, 4, 8, 60) as pool:
        pool.spread("reset", [(task, n) for n in range(32)])  # every world is built
        begun = time.perf_counter()
        play(listed, pool=pool, sampler=sampler, prompt=Letters(), params=SamplingParams(max_new_tokens=48), seed=0, step=0, timing=timing, schedule=schedule)  # fmt: skip
        return {"wall": time.perf_counter() - begun, "sampling": timing.generate_s}


def overlap(repeats: int) -> list[dict[str, Any]]:
    """Compare wall times with the larger of sampling alone (worlds cost nothing) and stepping alone (sampling costs nothing)."""
    rows = []
    tick_s = 0.006  # 4 ticks a turn, 8 worlds a worker: about 0.2 s for each to act
    sample_s = 0.006  # 32 rows: about 0.2 s
    for _ in range(repeats):
        sampling = timed("lockstep", 0.0, sample_s)["sampling"]
        stepping = timed("lockstep", tick_s, 0.0)["wall"]
        row: dict[str, Any] = {"what": "overlap", "sampling_s": round(sampling, 3), "stepping_s": round(stepping, 3)}
        for schedule in ("halves", "lockstep", "async"):
            wall = timed(schedule, tick_s, sample_s)["wall"]
            row |= {f"{schedule}_s": round(wall, 3), f"{schedule}_ratio": round(wall / max(sampling, stepping), 3)}
        rows.append(row)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/pool")
    args = parser.parse_args()
    about = {
        "command": f"python benchmarks/pool.py --repeats {args.repeats}",
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": 0,
    }
    rows = []
    for measure in (overhead, overlap):
        for row in measure(args.repeats):
            rows.append({**row, "load": round(os.getloadavg()[0], 1), **about})
            print(row, flush=True)
    share = statistics.median(row["share"] for row in rows if row["what"] == "overhead")
    ratios = {
        s: statistics.median(row[f"{s}_ratio"] for row in rows if row["what"] == "overlap")
        for s in ("halves", "lockstep", "async")
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"overhead {share:.1%} of a CraftWorld turn at {WORLDS} worlds (limit {OVERHEAD:.0%})")
    print(
        f"wall ÷ max(sampling, stepping): {', '.join(f'{s} {r:.2f}' for s, r in ratios.items())} (limit {OVERLAP}, halves)"
    )
    return int(share > OVERHEAD or ratios["halves"] > OVERLAP)


if __name__ == "__main__":
    sys.exit(main())
