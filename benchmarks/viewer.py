"""How fast the viewer opens: 1,000 made-up trajectories of CraftWorld's size, in headless Chromium, median of three.

    python benchmarks/viewer.py [--check]

Appends a row to ``viewer/results.jsonl``; ``--check`` only measures, and fails when the page takes 2 s or more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from tokenizers import Tokenizer, models

from crossagent.rollout.credit import TurnCredit, credit_file, save_credits
from crossagent.rollout.store import save_trajectories, step_file
from crossagent.tracking.viewer.page import write_page
from crossagent.types import StopReason, Trajectory, Turn

HERE = Path(__file__).parent
GROUPS_A_STEP, MEMBERS, TURNS, PROMPT, RESPONSE, WORDS = 10, 10, 20, 160, 12, 2000
SPACES = ("api", "gui", "control")
LIMIT_MS = 2000.0


def made_up_run(run: Path, trajectories: int) -> None:
    """Write a run of so many trajectories: 20 turns each, prompts of 160 tokens that share their beginning."""
    draw = random.Random(0)
    words = {f" word{k}": k for k in range(WORDS)}
    (run / "untrained/checkpoint").mkdir(parents=True)
    Tokenizer(models.WordLevel(words, unk_token=" word0")).save(str(run / "untrained/checkpoint/tokenizer.json"))
    (run / "recipe.yaml").write_text(
        "run_name: benchmark\nstages: [mtrl]\nspaces: {api: {weight: 0.02}, gui: {}, control: {}}\n"
    )
    opening = tuple(draw.randrange(WORDS) for _ in range(40))
    for step in range(1, trajectories // (GROUPS_A_STEP * MEMBERS) + 1):
        played, credits = [], []
        for number in range(GROUPS_A_STEP * MEMBERS):
            turns, credit = [], []
            for _ in range(TURNS):
                logprobs = tuple(-draw.expovariate(2) for _ in range(RESPONSE))
                prompt = (*opening, *(draw.randrange(WORDS) for _ in range(PROMPT - len(opening))))
                turns.append(
                    Turn(
                        prompt_ids=prompt,
                        response_ids=tuple(draw.randrange(WORDS) for _ in range(RESPONSE)),
                        sampler_logprobs=logprobs,
                        observation=" ".join(f"word{k}" for k in prompt[40:]),
                        text="Api: mine(oak_log)",
                        space=draw.choice(SPACES),
                        payload=["mine", "oak_log"],
                        ticks=4,
                        cost=1.0,
                        space_logprobs=(-0.5, -1.5, -2.0),
                    )
                )
                credit.append(TurnCredit(0.1, (True,) * RESPONSE, logprobs, logprobs))
            task = f"mine_block:{draw.randrange(200)}"
            where = {"group": number // MEMBERS, "member": number % MEMBERS, "seed": number // MEMBERS}
            played.append(
                Trajectory(
                    task=task,
                    category="mine_block",
                    env="made-up",
                    turns=tuple(turns),
                    stop_reason=StopReason.max_turns,
                    success=draw.random() < 0.4,
                    spaces=SPACES,
                    **where,
                )
            )
            credits.append(tuple(credit))
        save_trajectories(step_file(run / "mtrl/trajectories", step), played)
        save_credits(credit_file(run / "mtrl/trajectories", step), played, credits)


def measure(file: Path, times: int) -> dict[str, float]:
    """Return the medians, ms since navigation began: the list painted, the first trajectory shown and keys listened to."""
    own = os.environ.get("CROSSAGENT_CHROMIUM") or shutil.which("chromium")
    runs = []
    with sync_playwright() as playwright:
        for _ in range(times):  # a fresh browser each time: nothing is warm
            browser = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-ready]", state="attached")
            marks = page.evaluate(
                """async () => {
                  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));  // until a frame is out
                  const at = (name) => performance.getEntriesByName(name)[0].startTime;
                  return { first_paint: at("first-contentful-paint"), list: at("list"), interactive: at("ready"), painted: performance.now() };
                }"""
            )
            before = page.evaluate("performance.now()")
            page.keyboard.press("j")
            page.wait_for_selector("#head code:text-is('mtrl/1/0.1')")
            marks["next_trajectory"] = page.evaluate("performance.now()") - before
            runs.append(marks)
            browser.close()
    return {name: round(statistics.median(run[name] for run in runs), 1) for name in runs[0]}


def main() -> int:
    """Measure, print, write the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--trajectories", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        run, file = Path(directory) / "run", Path(directory) / "viewer.html"
        made_up_run(run, args.trajectories)
        begun = time.perf_counter()
        write_page(run, file, args.trajectories)
        write_s = time.perf_counter() - begun
        row = {
            "trajectories": args.trajectories,
            "turns": args.trajectories * TURNS,
            "file_mb": round(file.stat().st_size / 1e6, 1),
            "write_s": round(write_s, 2),
            "ms": measure(file, 3),
        }
    print(json.dumps(row))
    if args.check:
        return int(row["ms"]["painted"] >= LIMIT_MS)  # type: ignore[index]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    row |= {
        "command": "python benchmarks/viewer.py",
        "commit": commit,
        "machine": f"{os.cpu_count()} × {platform.machine()}",
    }
    (HERE / "viewer").mkdir(exist_ok=True)
    with open(HERE / "viewer/results.jsonl", "a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
