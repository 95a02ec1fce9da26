"""How a run scales: over processes (measured on this machine), with what it plays (measured), over many devices (modelled).

    python benchmarks/scaling.py [processes] [costs] [modelled] [--repeats 3] [--out benchmarks/scaling] [--work build/scaling]

processes  one recipe (CraftWorld, MTRL from one SFT checkpoint; model and prompt of the quickstart, 32 groups of 8, 128 worlds a process) with one and
           with two processes, by turns, a core each (`rollout.workers: 0`: worlds live in the process, nothing overlaps). Both play the same episodes, so iterations are compared pair by pair;
           the first of each run warms up. Limits: rollouts 1.7×, training 1.6×. Two times are taken: wall time, and the processor time
           of the process that took most, which is the wall time where every process has a core to itself, and does not see what else
           the machine does. The limits are for the second; wall times stand beside, with the machine's load. The ceiling is what two
           processes reach that know nothing of each other: cores share caches, memory and clock.
costs      processor seconds of one iteration as turns, group size, context and model grow, one at a time, with the power law that
           fits best.
modelled   8 to 1,024 devices, from the planner's model calibrated by what `processes` measured: **nothing there was measured on so
           many**. Names what takes longest.

`processes` and `costs` write rows to results.jsonl, `modelled` reads them. Exit code 1 when a median is below its limit.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossagent.launch import supervise
from crossagent.pipeline.recipe_run import run_recipe
from crossagent.rollout.store import load_trajectories, step_file
from crossagent.training.callbacks import read_metrics
from crossagent.types import Trajectory

ROOT = Path(__file__).parents[1]
ROLLOUT, TRAINING = 1.7, 1.6
MEASURED, MODELLED = "results.jsonl", "modelled.json"
SFT = """
environment: {name: craftworld, options: {skills: basic}}
spaces: {api: {weight: 0.02}, gui: {weight: 0.02}, control: {weight: 0.02, options: {ticks: 4}}}
stages: [sft]
policy: {model: scratch-0.2m}
prompt: {style: compact, history: 0, fragments: headers}
rollout: {workers: 2, worlds_per_worker: 32, max_new_tokens: 32}
demonstrations: {episodes: 400}
sft: {epochs: 4, lr: 2.0e-3, batch_size: 64, micro_batches: 4}
evaluation: {episodes: 2, single_spaces_after: [], experts: false, suites: {id: {splits: [train]}}}
tracking: {mlflow: false, plots: false, report: false}
"""
MTRL = """
defaults: [sft.yaml]
stages: [mtrl]
rollout: {workers: 0, worlds_per_worker: 128, max_new_tokens: 32, schedule: lockstep}
mtrl: {iterations: 3, groups: 32, group_size: 8, lr: 1.0e-4, filter_zero_variance: false, drop_all_fail: false, resample_rounds: 0,
  micro_batch_tokens: 4096, checkpoint_every: 0}
"""


# -- time -------------------------------------------------------------------------------------------------------------
def record_times(into: list[dict[str, float]]) -> None:
    """From now on, note the wall and processor seconds of each part of each GRPO iteration of this process."""
    from crossagent.training import grpo

    @contextmanager
    def timed(name: str, metrics: dict[str, float]) -> Iterator[None]:
        wall, processor = time.monotonic(), time.process_time()
        yield
        metrics[name] = time.monotonic() - wall
        part = name.removeprefix("time/")
        if part == "rollout":
            into.append({})
        into[-1] |= {part: metrics[name], f"{part}_cpu": time.process_time() - processor}

    grpo.timed = timed  # type: ignore[assignment]


# -- processes --------------------------------------------------------------------------------------------------------
def processes(work: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield, per repeat and iteration, the seconds that one and two processes took for the same episodes."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "sft.yaml").write_text(SFT)
    (work / "mtrl.yaml").write_text(MTRL)
    checkpoint = work / "runs/sft/sft/checkpoint"
    _run(work, 1, "sft.yaml", "run_name=sft")
    for repeat in range(repeats):
        times: dict[int, list[list[dict[str, float]]]] = {}
        stages: dict[int, Path] = {}
        for count in (1, 2) if repeat % 2 == 0 else (2, 1):
            name = f"{count}-{repeat}-{time.time_ns()}"
            changes = (f"policy.model={checkpoint}", f"run_name={name}", f"trainer.devices={count}")
            times[count] = _run(work, count, "mtrl.yaml", *changes)
            stages[count] = work / "runs" / name / "mtrl"
        apart = _apart(work, f"policy.model={checkpoint}", "trainer.devices=1")
        metrics = read_metrics(stages[1] / "metrics.jsonl")
        for step in range(2, len(metrics) + 1):
            one, *_ = (rank[step - 1] for rank in times[1])
            two = [rank[step - 1] for rank in times[2]]
            played = [load_trajectories(step_file(stages[count] / "trajectories", step)) for count in (1, 2)]
            row: dict[str, Any] = {"what": "processes", "repeat": repeat, "iteration": step}
            row["same"] = [_said(t) for t in played[0]] == [_said(t) for t in played[1]]
            for clock, suffix in (("wall", ""), ("cpu", "_cpu")):
                for part, of in (("rollout", ("rollout",)), ("training", ("logprobs", "update"))):
                    alone = sum(one[f"{name}{suffix}"] for name in of)
                    both = max(sum(rank[f"{name}{suffix}"] for name in of) for rank in two)
                    row |= {
                        f"{part}_1_{clock}_s": alone,
                        f"{part}_2_{clock}_s": both,
                        f"{part}_speedup_{clock}": alone / both,
                    }
                    if clock == "cpu":
                        each = statistics.fmean(sum(copy[step - 1][f"{name}_cpu"] for name in of) for copy in apart)
                        row[f"{part}_ceiling_cpu"] = 2 * alone / each
            acting, sampling = (metrics[step - 1][f"time/{name}"] for name in ("environment", "generate"))
            row["acting_share"] = acting / max(acting + sampling, 1e-9)
            row |= {f"{name}_1_cpu_s": one[f"{name}_cpu"] for name in ("logprobs", "update")}
            yield row | played_sizes(played[0])


def _run(work: Path, count: int, recipe: str, *changes: str) -> list[list[dict[str, float]]]:
    """Run a recipe over ``count`` processes; return what each of them noted of each iteration."""
    noted = work / "noted"
    shutil.rmtree(noted, ignore_errors=True)
    noted.mkdir()
    words = [str(noted), str(work / recipe), f"runs_dir={work}/runs", *changes]
    ended = supervise([sys.executable, __file__, "--one-of-several", *words], count)
    if ended.code:
        sys.exit(f"{recipe} {' '.join(changes)}: {ended.message}")
    return [json.loads((noted / f"{rank}.json").read_text()) for rank in range(count)]


def _apart(work: Path, *changes: str) -> list[list[dict[str, float]]]:
    """Let two processes that know nothing of each other each do what one does alone; return what each noted."""
    copies = []
    for number in range(2):
        noted = work / f"apart-{number}"
        shutil.rmtree(noted, ignore_errors=True)
        noted.mkdir()
        words = [str(noted), str(work / "mtrl.yaml"), f"runs_dir={work}/runs", *changes]
        command = [sys.executable, __file__, "--one-of-several", *words, f"run_name=apart-{number}-{time.time_ns()}"]
        copies.append((noted, subprocess.Popen(command, env={**os.environ, "RANK": "0"})))
    codes = [copy.wait() for _, copy in copies]
    if any(codes):
        sys.exit("a run beside another one failed; see above")
    return [json.loads((noted / "0.json").read_text()) for noted, _ in copies]


def one_of_several(noted: Path, recipe: Path, changes: Sequence[str]) -> None:
    """Be a process of a run."""
    times: list[dict[str, float]] = []
    record_times(times)
    with (noted / f"table-{os.environ['RANK']}.txt").open("w") as table, redirect_stdout(table):
        run_recipe(recipe, changes)
    (noted / f"{os.environ['RANK']}.json").write_text(json.dumps(times))


def _said(trajectory: Trajectory) -> list[tuple[int, ...]]:
    return [turn.response_ids for turn in trajectory.turns]


def played_sizes(played: Sequence[Trajectory]) -> dict[str, float]:
    """Return what an iteration played, and what it weighs when processes tell each other of it."""
    turns = [turn for trajectory in played for turn in trajectory.turns]
    packed = pickle.dumps(list(played), pickle.HIGHEST_PROTOCOL)
    begun = time.perf_counter()
    pickle.loads(packed)
    per_group: dict[int, int] = {}
    for trajectory in played:
        tokens = sum(len(turn.prompt_ids) + len(turn.response_ids) for turn in trajectory.turns)
        per_group[trajectory.group] = per_group.get(trajectory.group, 0) + tokens
    return {
        "trajectories": len(played),
        "turns": len(turns) / len(played),
        "prompt": statistics.fmean(len(turn.prompt_ids) for turn in turns),
        "response": statistics.fmean(len(turn.response_ids) for turn in turns),
        "group_tokens_cv": statistics.pstdev(per_group.values()) / statistics.fmean(per_group.values()),
        "bytes_per_trajectory": len(packed) / len(played),
        "unpack_s_per_trajectory": (time.perf_counter() - begun) / len(played),
    }


# -- costs ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Point:
    """One iteration to measure."""

    turns: int = 2
    group_size: int = 8
    context: int = 256
    model: str = "scratch-0.2m"
    groups: int = 2


AXES: Mapping[str, Sequence[Any]] = {
    "turns": (1, 2, 4, 8),
    "group_size": (2, 4, 8, 16),
    "context": (64, 128, 256, 512, 1024),
    "model": ("scratch-0.1m", "scratch-0.2m", "scratch-0.4m", "scratch-1m"),
}
RESPONSE = 16


def costs(work: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the seconds of iterations whose size is known: each response has 16 tokens, each prompt ``context`` of its own."""
    import torch

    torch.set_num_threads(1)
    _iteration(Point(turns=1), work / "costs")  # warms up
    for repeat in range(repeats):
        for axis, values in AXES.items():
            for value in values:
                point = replace(Point(), **{axis: value})
                parameters, seconds = _iteration(point, work / "costs")
                x = parameters if axis == "model" else value
                yield {"what": "costs", "repeat": repeat, "axis": axis, "value": value, "x": x, **seconds}


def _iteration(point: Point, directory: Path) -> tuple[int, dict[str, float]]:
    """Train one iteration and return (parameters, its processor seconds)."""
    from crossagent.envs.workers.pool import WorkerPool
    from crossagent.envs.world import WorldConfig
    from crossagent.plugin import ActionSpaceSpec
    from crossagent.policy.config import PolicyConfig
    from crossagent.policy.model import Policy
    from crossagent.sampling.fast import FastSampler
    from crossagent.testing import ToySuite, toy_environment
    from crossagent.training.config import GRPOConfig
    from crossagent.training.grpo import train_grpo
    from crossagent.training.sources import MtrlSource
    from crossagent.training.stage import StageRun

    texts = [f"word{i} " * 8 for i in range(200)]
    config = PolicyConfig(point.model, tokenizer_vocab=512, max_length=point.context + RESPONSE + 16)
    policy = Policy.build(config, texts=texts, seed=0)
    sampler = FastSampler(policy)

    class Uncut:
        """The sampler, whose responses count as ended where the limit cuts them: an invalid action, and the episode goes on."""

        def sample(self, requests: Any, params: Any) -> Any:
            return [replace(sample, finish_reason="stop") for sample in sampler.sample(requests, params)]

        def forget(self) -> None:
            sampler.forget()

    class Prompt:
        """``context`` ids that depend on all that was said, so that no two members share a prompt after the first turn."""

        headers = {"api": "Api:"}  # noqa: RUF012

        def prompt_ids(self, instruction: str, spaces: Any, history: Any, observation: str) -> tuple[int, ...]:
            seed = sum(hash(ids) for _, ids in history) % 2**32 + len(history)
            return tuple(np.random.default_rng(seed).integers(5, 300, point.context).tolist())

        def forced_ids(self, space: str) -> tuple[int, ...]:
            return (7,)

        def response_ids(self, text: str, space: str) -> tuple[int, ...]:
            raise NotImplementedError

        def decode(self, response_ids: Any) -> str:
            return "no action"

        def grammar(self, spaces: Any) -> str:
            return ""

    space = ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace")
    task = replace(ToySuite().get("get:apple"), max_turns=point.turns, max_ticks=10**6)
    settings = GRPOConfig(
        iterations=1, groups=point.groups, group_size=point.group_size, max_new_tokens=RESPONSE, resample_rounds=0,
        filter_zero_variance=False, drop_all_fail=False, checkpoint_every=0, invalid_penalty=0.1,
    )  # fmt: skip
    with WorkerPool(WorldConfig(toy_environment(), {}, ((space, {}),)), 0, point.groups * point.group_size, 60) as pool:
        common = {"tasks": [task], "spaces": ("api",), "weights": {}, "pool": pool, "seed": 1}
        source = MtrlSource(settings, sampler=Uncut(), prompt=Prompt(), max_new_tokens=RESPONSE, **common)  # type: ignore[arg-type]
        noted: list[dict[str, float]] = []
        record_times(noted)
        train_grpo(policy, source, settings, StageRun("mtrl", directory))
    last = noted[-1]
    seconds = {"rollout_s": last["rollout_cpu"], "training_s": last["logprobs_cpu"] + last["update_cpu"]}
    return sum(p.numel() for p in policy.parameters()), seconds


def fitted(xs: Sequence[float], seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return (c, p, R²) of seconds ≈ c·xᵖ, fitted to logarithms."""
    x, y = np.log(np.asarray(xs, float)), np.log(np.asarray(seconds, float))
    p, c = np.polyfit(x, y, 1)
    rest = float(((y - p * x - c) ** 2).sum())
    return float(np.exp(c)), float(p), 1.0 - rest / max(float(((y - y.mean()) ** 2).sum()), 1e-12)


def fits(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, per axis and part, the medians over repeats and the power law through them."""
    found = []
    for axis in AXES:
        own = [row for row in rows if row["what"] == "costs" and row["axis"] == axis]
        xs = sorted({row["x"] for row in own})
        for part in ("rollout_s", "training_s"):
            medians = [statistics.median(row[part] for row in own if row["x"] == x) for x in xs]
            if len(xs) >= 2:
                c, p, r2 = fitted(xs, medians)
                found.append({"axis": axis, "part": part, "x": xs, "seconds": medians, "c": c, "p": p, "r2": r2})
    return found


def plot(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw what was measured, and the fits, on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    titles = {
        "turns": "turns per episode",
        "group_size": "members of a group",
        "context": "prompt tokens",
        "model": "parameters",
    }
    figure, axes = pyplot.subplots(1, 4, figsize=(15, 3.6), constrained_layout=True, sharey=True)
    for panel, (axis, title) in zip(axes, titles.items(), strict=True):
        for fit, colour in zip([f for f in found if f["axis"] == axis], ("#0b6e99", "#c2571a"), strict=True):
            xs = np.asarray(fit["x"], float)
            label = f"{fit['part'].removesuffix('_s')}: x^{fit['p']:.2f}, R² {fit['r2']:.3f}"
            panel.loglog(xs, fit["seconds"], "o", color=colour)
            panel.loglog(xs, fit["c"] * xs ** fit["p"], "-", color=colour, label=label)
        panel.set_xlabel(title)
        panel.legend(frameon=False, fontsize=8)
        panel.grid(alpha=0.2)
    axes[0].set_ylabel("processor seconds of an iteration")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


# -- modelled ---------------------------------------------------------------------------------------------------------
def modelled(work: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one iteration on 8 … 1,024 devices, by the planner's model with the rates that were measured here.

    What the planner does not know is added: every process gets, and unpacks, what all have played.
    """
    from crossagent.estimate.hardware import find
    from crossagent.estimate.shape import shape_of
    from crossagent.estimate.sharding import Sharding
    from crossagent.estimate.steps import DEVICES, Setting, StepTime, Work, calibrated, iteration, modelled_scaling

    own = [row for row in rows if row["what"] == "processes"]
    if not own:
        sys.exit("modelled: nothing was measured yet; run `python benchmarks/scaling.py processes` first")

    def mean(name: str) -> float:
        return statistics.fmean(row[name] for row in own)

    shape = shape_of(json.loads((work / "runs/sft/sft/checkpoint/config.json").read_text()))
    played = Work(
        trajectories=int(mean("trajectories")), turns=mean("turns"), prompt=mean("prompt"), response=mean("response"),
        workers=1, worlds=32, overlap=False,
    )  # fmt: skip
    here = Setting(shape, find("cpu"))
    as_metrics = [
        {
            "time/generate": row["rollout_1_cpu_s"] * (1 - row["acting_share"]),
            "time/environment": row["rollout_1_cpu_s"] * row["acting_share"],
            "time/logprobs": row["logprobs_1_cpu_s"],
            "time/update": row["update_1_cpu_s"],
        }
        for row in own
    ]
    rates = calibrated(here, played, [as_metrics[0], *as_metrics], "benchmarks/scaling/results.jsonl")
    groups = played.trajectories / 4
    straggle = mean("group_tokens_cv") / math.sqrt(groups / 2)
    rates = replace(rates, straggle=straggle)
    size, unpack = mean("bytes_per_trajectory"), mean("unpack_s_per_trajectory")

    def with_gather(time_: StepTime, setting: Setting, trajectories: int) -> StepTime:
        link = setting.hardware.interconnect if time_.devices <= setting.sharding.per_node else setting.hardware.network
        others = trajectories * (1 - 1 / time_.devices)
        gather = others * (size / (link * rates.network) + unpack)
        return replace(time_, parts={**time_.parts, "telling each other": gather})

    two = replace(here, sharding=Sharding.of("ddp", 2))
    predicted = with_gather(iteration(two, played, rates), two, played.trajectories)
    check = {
        "predicted_2_s": predicted.seconds,
        "measured_2_s": statistics.median(row["rollout_2_cpu_s"] + row["training_2_cpu_s"] for row in own),
        "parts": dict(predicted.parts),
    }
    check["error"] = check["predicted_2_s"] / check["measured_2_s"] - 1
    tables = {}
    for name, weak in (("weak", True), ("strong", False)):
        first = None
        per_first = replace(played, trajectories=played.trajectories * (DEVICES[0] if weak else 64))
        setting = replace(here, sharding=Sharding.of("ddp", 8))
        table = []
        for row in modelled_scaling(setting, per_first, rates, weak=weak):
            time_ = with_gather(row.time, setting, row.trajectories)
            per_second = row.trajectories / time_.seconds
            first = first or per_second
            speedup = per_second / first
            table.append(
                replace(row, time=time_, speedup=speedup, efficiency=speedup * DEVICES[0] / row.devices).as_dict()
            )
        tables[name] = table
    return {
        "modelled": True,
        "rates": {k: getattr(rates, k) for k in rates.__dataclass_fields__},
        "check": check,
        **tables,
    }


def table(content: Mapping[str, Any]) -> str:
    """Return the modelled rows as Markdown."""
    lines = []
    for name, title in (("weak", "32 trajectories per device"), ("strong", "2,048 trajectories on all together")):
        lines += [
            f"{title} (modelled):",
            "",
            "| devices | iteration, s | rollout, s | training, s | efficiency | bottleneck |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['devices']:,} | {row['seconds']:.1f} | {row['rollout_s']:.1f} | {row['seconds'] - row['rollout_s']:.1f} | "
            f"{100 * row['efficiency']:.0f} % | {row['bottleneck']} |"
            for row in content[name]
        ]
        lines.append("")
    return "\n".join(lines)


# -- all of it --------------------------------------------------------------------------------------------------------
def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return {
        "commit": commit,
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=[], help="processes, costs, modelled (default: all)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/scaling")
    parser.add_argument("--work", type=Path, default=ROOT / "build/scaling")
    if sys.argv[1:2] == ["--one-of-several"]:
        one_of_several(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
        return 0
    args = parser.parse_args()
    wanted = args.what or ["processes", "costs", "modelled"]
    args.out.mkdir(parents=True, exist_ok=True)
    work = args.work.resolve()
    file = args.out / MEASURED
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    code = 0
    for name, measure in (("processes", processes), ("costs", costs)):
        if name in wanted:
            made = machine()
            rows = [row for row in rows if row["what"] != name]
            rows += [
                {**row, **made, "command": f"python benchmarks/scaling.py {name}"}
                for row in measure(work, args.repeats)
            ]
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for part, limit in (("rollout", ROLLOUT), ("training", TRAINING)) if "processes" in wanted else ():
        found = {
            clock: [row[f"{part}_speedup_{clock}"] for row in rows if row["what"] == "processes"]
            for clock in ("cpu", "wall")
        }
        median = statistics.median(found["cpu"])
        code |= median < limit
        print(
            f"{part}: {median:.2f}× with two processes, a core each ({min(found['cpu']):.2f}–{max(found['cpu']):.2f}, limit {limit}×); "
            f"on the wall {statistics.median(found['wall']):.2f}×; two that know nothing of each other "
            f"{statistics.median(row[f'{part}_ceiling_cpu'] for row in rows if row['what'] == 'processes'):.2f}×"
        )
    if "costs" in wanted:
        found_fits = fits(rows)
        plot(found_fits, args.out / "costs.png")
        for fit in found_fits:
            print(f"{fit['axis']}: {fit['part']} ~ {fit['c']:.3g}·x^{fit['p']:.2f} (R² {fit['r2']:.3f})")
    if "modelled" in wanted:
        content = modelled(work, rows)
        (args.out / MODELLED).write_text(json.dumps(content, indent=2) + "\n")
        (args.out / "modelled.md").write_text(table(content))
        check = content["check"]
        print(
            f"model against two measured processes: {check['predicted_2_s']:.2f} s, measured {check['measured_2_s']:.2f} s"
        )
        print(table(content))
    return code


if __name__ == "__main__":
    sys.exit(main())
