"""What reinforcement adds to one SFT checkpoint: success, cost per success, and what STRL does for MTRL.

    python benchmarks/learning.py [--recipe recipes/quickstart.yaml] [--seeds 0,1,2] [--weight 0.05] [--out benchmarks/learning] [KEY=VALUE …]

SFT is trained once, with seed 0. From its checkpoint each seed trains three arms: ``mtrl`` (λ = --weight in every space), ``mtrl-free``
(λ = 0) and ``strl-mtrl`` (STRL, relabel, then MTRL; λ = --weight). Every arm is evaluated in the same worlds, which no stage
trains on. Overrides go to every run. A run that is complete is not run again; only rows, table and plot are rebuilt. To train
piece by piece: ``--arms mtrl --seeds 1 --only-train``; a row says the commit its run was begun with.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from quickstart import ROOT, commit, machine, numbers

SFT = "sft"
ARMS = {"mtrl": ["mtrl"], "mtrl-free": ["mtrl"], "strl-mtrl": ["strl", "relabel", "mtrl"]}
SPARE = ["tracking.mlflow=false", "evaluation.experts=false", "evaluation.single_spaces_after=[]"]
RESAMPLES = 2000
MOST_LOST = 3.0
"""Points of success that a price on actions may cost."""

Episodes = list[dict[int, tuple[bool, float]]]
"""Per seed: world → (success, cost of the episode before λ)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes/quickstart.yaml")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="comma-separated")
    parser.add_argument("--weight", type=float, default=0.05, help="λ of the arms that pay for their actions")
    parser.add_argument("--episodes", type=int, default=300, help="of each evaluation")
    parser.add_argument("--demonstrations", type=int, default=2500, help="for SFT; fewer leave more room to learn")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/learning")
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs")
    parser.add_argument(
        "--arms", type=lambda text: text.split(","), default=list(ARMS), help="with --only-train: which"
    )
    parser.add_argument("--only-train", action="store_true", help="rows, table and plot are left for later")
    args, overrides = parser.parse_known_args()
    if unknown := set(args.arms) - set(ARMS):
        parser.error(f"--arms: unknown {', '.join(sorted(unknown))}; expected some of {', '.join(ARMS)}")
    args.runs_dir = args.runs_dir.resolve()  # runs name each other by it

    from crossagent.recipe.schema import load_recipe

    spaces = list(load_recipe(args.recipe, overrides).spaces)
    common = [*SPARE, f"evaluation.episodes={args.episodes}", f"runs_dir={args.runs_dir}", *overrides]
    base = args.runs_dir / f"{args.recipe.stem}-learning-sft"
    trained = [f"demonstrations.episodes={args.demonstrations}", "stages=[sft]", f"run_name={base.name}"]
    train(args.recipe, [*common, *trained], base)
    begin = [f"policy.model={base / SFT / 'checkpoint'}", f"demonstrations.file={base / 'demonstrations.parquet'}"]

    runs = {SFT: [base / SFT]}
    rows = [row(SFT, 0, base, trained)]
    for arm, stages in ARMS.items():
        if args.only_train and arm not in args.arms:
            continue
        price = 0.0 if arm == "mtrl-free" else args.weight
        for seed in args.seeds:
            run = args.runs_dir / f"{args.recipe.stem}-learning-{arm}-seed{seed}"
            own = [f"stages=[{','.join(stages)}]", f"seed={seed}", *(f"spaces.{s}.weight={price}" for s in spaces)]
            train(args.recipe, [*common, *begin, *own, f"run_name={run.name}"], run)
            runs.setdefault(arm, []).append(run / stages[-1])
            rows.append(row(arm, seed, run, own))
    if args.only_train:
        return 0
    played = {arm: [episodes(stage) for stage in stages] for arm, stages in runs.items()}
    for each in rows:
        index = 0 if each["arm"] == SFT else args.seeds.index(each["seed"])
        each["cost_per_success"] = cost_per_success([played[each["arm"]][index]])
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    curves = {arm: [curve(stage) for stage in stages] for arm, stages in runs.items() if arm != SFT}
    (args.out / "episodes.jsonl").write_text(
        "".join(json.dumps(each) + "\n" for each in raw(played, curves, args.seeds))
    )
    text = render(played) + "\n" + "\n".join(verdicts(played, args.weight)) + "\n"
    (args.out / "table.md").write_text(text)
    plot(played, curves, args.out / "curves.png")
    print(text)
    return 0


def train(recipe: Path, changes: Sequence[str], run: Path) -> None:
    """Run a recipe to its end, or find that it has been run; note beside it what it was begun with."""
    if not run.with_suffix(".json").exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        run.with_suffix(".json").write_text(json.dumps({"commit": commit(), "machine": machine()}))
    subprocess.run([sys.executable, "-m", "crossagent", "run", str(recipe), *changes], cwd=ROOT, check=True)


def row(arm: str, seed: int, run: Path, changes: Sequence[str]) -> dict[str, Any]:
    """Return the raw row of one run's last evaluation."""
    summary = json.loads((run / "summary.json").read_text())
    last = summary["stages"][-1]
    return {
        "arm": arm,
        "seed": seed,
        "stage": last["stage"],
        **last["eval"]["id"][next(iter(last["eval"]["id"]))],
        "seconds": sum(stage["seconds"] for stage in summary["stages"]),
        "recipe_sha256": summary["recipe_sha256"],
        **json.loads(run.with_suffix(".json").read_text()),
        "changes": list(changes),
        "command": " ".join(["python", os.path.relpath(Path(__file__), ROOT), *sys.argv[1:]]),
    }


def episodes(stage: Path) -> dict[int, tuple[bool, float]]:
    """Return world → (success, cost before λ) of a stage's evaluation."""
    from crossagent.rollout.store import load_trajectories

    (file,) = (stage / "trajectories").glob("evaluation-id-mixed.parquet")
    return {t.group: (t.success, sum(turn.cost for turn in t.turns)) for t in load_trajectories(file)}


def curve(stage: Path) -> list[tuple[int, float]]:
    """Return (iteration, success of its rollouts) of MTRL."""
    rows = map(json.loads, (stage / "metrics.jsonl").read_text().splitlines())
    return [(int(r["step"]), r["rollout/success"]) for r in rows if "rollout/success" in r]


def raw(
    played: dict[str, Episodes], curves: dict[str, list[list[tuple[int, float]]]], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield, per run, what table and plot are made of: its evaluation world by world, and the success of its rollouts."""
    for arm, per_seed in played.items():
        for number, (seed, found) in enumerate(zip(seeds if arm != SFT else [0], per_seed, strict=True)):
            yield {
                "arm": arm,
                "seed": seed,
                "worlds": sorted(found),
                "success": [int(found[world][0]) for world in sorted(found)],
                "cost": [round(found[world][1], 4) for world in sorted(found)],
                "rollouts": [round(value, 4) for _, value in curves[arm][number]] if arm in curves else [],
            }


def success(played: Episodes, worlds: Sequence[int] | None = None) -> float:
    """Return success in percent, averaged over seeds."""
    return 100 * statistics.fmean(seed[w][0] for seed in played for w in (worlds or seed))


def cost_per_success(played: Episodes, worlds: Sequence[int] | None = None) -> float:
    """Return what all episodes cost, the failed ones too, divided by the number of successes (by 1 without any)."""
    cost = sum(seed[w][1] for seed in played for w in (worlds or seed))
    return cost / max(1, sum(seed[w][0] for seed in played for w in (worlds or seed)))


def interval(statistic: Callable[[Sequence[int]], float], worlds: Sequence[int]) -> tuple[float, float]:
    """Return the 95 % interval of a statistic of worlds, by resampling them (percentile bootstrap, seeded)."""
    rng = random.Random(0)
    values = sorted(statistic(rng.choices(worlds, k=len(worlds))) for _ in range(RESAMPLES))
    return values[int(0.025 * RESAMPLES)], values[int(0.975 * RESAMPLES) - 1]


def render(played: dict[str, Episodes]) -> str:
    """Return a Markdown table: each arm's success and cost per success, with intervals over worlds, seeds averaged."""
    lines = ["| arm | seeds | success % | 95 % | per seed | cost per success | 95 % |", "|" + "---|" * 7]
    for arm, seeds in played.items():
        worlds = sorted(seeds[0])
        low, high = interval(lambda w, s=seeds: success(s, w), worlds)
        cheap, dear = interval(lambda w, s=seeds: cost_per_success(s, w), worlds)
        each = ", ".join(f"{success([seed]):.1f}" for seed in seeds)
        lines.append(
            f"| {arm} | {len(seeds)} | {success(seeds):.1f} | {low:.1f}–{high:.1f} | {each} | "
            f"{cost_per_success(seeds):.2f} | {cheap:.2f}–{dear:.2f} |"
        )
    return "\n".join(lines) + "\n"


def verdicts(played: dict[str, Episodes], weight: float) -> list[str]:
    """Say, for each claim, what was measured and whether it holds."""
    worlds = sorted(played[SFT][0])
    for arm, seeds in played.items():
        if any(sorted(seed) != worlds for seed in seeds):
            raise SystemExit(f"{arm} was not evaluated in the same worlds as {SFT}")

    def difference(statistic: Callable[..., float], one: str, other: str) -> tuple[float, float, float]:
        def of(chosen: Sequence[int] | None) -> float:
            return statistic(played[one], chosen) - statistic(played[other], chosen)

        return (of(None), *interval(of, worlds))

    def told(claim: str, found: tuple[float, float, float], holds: bool, digits: int = 1) -> str:
        mean, low, high = found
        return f"- {claim}: {mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}] — {'holds' if holds else 'does not hold'}"

    before = interval(lambda w: success(played[SFT], w), worlds)
    after = interval(lambda w: success(played["mtrl"], w), worlds)
    rise = difference(success, "mtrl", SFT)
    cheaper = difference(cost_per_success, "mtrl", "mtrl-free")
    lost = difference(success, "mtrl", "mtrl-free")
    warm = difference(success, "strl-mtrl", "mtrl")
    thrifty = difference(cost_per_success, "strl-mtrl", "mtrl")
    return [
        told("MTRL raises success over SFT, in points, intervals apart", rise, after[0] > before[1]),
        told(f"λ = {weight:g} against λ = 0 lowers the cost per success", cheaper, cheaper[2] < 0, 2),
        told(f"… and success by no more than {MOST_LOST:g} points", lost, lost[0] >= -MOST_LOST),
        told("STRL and relabelling before MTRL raise success further", warm, warm[1] > 0),
        told("… and lower the cost per success further", thrifty, thrifty[2] < 0, 2),
    ]


def plot(played: dict[str, Episodes], curves: dict[str, list[list[tuple[int, float]]]], out: Path) -> None:
    """Draw success and cost per success of each arm, and the success of rollouts while MTRL trains."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = (figure.add_subplot(1, 3, k) for k in (1, 2, 3))
    for axes, statistic, title in (
        (left, success, "held-out success %"),
        (middle, cost_per_success, "cost per success (before λ)"),
    ):
        for x, seeds in enumerate(played.values()):
            value = statistic(seeds)
            low, high = interval(lambda w, s=seeds, f=statistic: f(s, w), sorted(seeds[0]))
            axes.errorbar(
                [x],
                [value],
                yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                fmt="o",
                capsize=4,
                color=f"C{x}",
            )
            axes.plot([x] * len(seeds), [statistic([seed]) for seed in seeds], "_", color=f"C{x}", alpha=0.5)
        axes.set(title=title, xticks=range(len(played)))
        axes.set_xticklabels(list(played), rotation=20)
        axes.grid(alpha=0.3)
    for number, (arm, seeds) in enumerate(curves.items(), 1):
        for index, points in enumerate(seeds):
            right.plot(
                *zip(*points, strict=True),
                color=f"C{number}",
                alpha=0.6,
                linewidth=0.9,
                label=arm if index == 0 else None,
            )
    right.set(title="success of rollouts", xlabel="MTRL iteration")
    right.legend(fontsize=7)
    right.grid(alpha=0.3)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
