"""Constrained decoding on CraftWorld: is every response an action, and what does it cost?

    python benchmarks/constrained.py [--repeats 5] [--out benchmarks/constrained]

actions   1,024 responses of an untrained model, the spaces api, gui and control to choose from: those that decode to an action; free
          decoding beside. 100 % or exit code 1.
cost      the policy after some steps of SFT, so that free and constrained responses are about alike: the same 512 prompts decoded
          either way, by turns; the CPU time per sampled token, on one thread, against free decoding's. Above 1.15 in the median: exit
          code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from crossagent.demonstrations.collect import collect
from crossagent.pipeline.evaluation import quiet
from crossagent.plugin import Action, SampleRequest, SamplingParams
from crossagent.policy.config import PolicyConfig, PromptConfig
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.recipe.checks import validate
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import load_plugins
from crossagent.sampling.constrained import grammars_of
from crossagent.sampling.fast import FastSampler
from crossagent.spaces.base import SpaceSet
from crossagent.training.batch import rows_from_demonstrations
from crossagent.training.config import SFTConfig
from crossagent.training.sft import train_sft
from crossagent.training.stage import StageRun

ROOT = Path(__file__).parents[1]
RESPONSES, PROMPTS, LIMIT, COST = 1024, 512, 32, 1.15


class Bench:
    """A policy, the prompts of demonstrated states, and the spaces of the quickstart."""

    def __init__(self, episodes: int) -> None:
        recipe = load_recipe(ROOT / "recipes/quickstart.yaml", ["rollout.workers=0"])
        plan = validate(recipe, load_plugins())
        with plan.open_pool() as pool:
            described = pool.describe()
            mixture = {**dict.fromkeys(recipe.spaces, 1.0), "mixed": 3.0}
            self.demonstrations = collect(pool, plan.demonstration_tasks, episodes=episodes, mixture=mixture, seed=0)
        self.names = tuple(recipe.spaces)
        self.spaces: SpaceSet = plan.plugins.build_space_set({n: s.options for n, s in recipe.spaces.items()})
        texts = [
            *described.fragments.values(),
            *described.headers.values(),
            *(d.instruction for d in self.demonstrations),
        ]
        texts += [text for d in self.demonstrations for turn in d.turns for text in (turn.observation, turn.text)]
        self.policy = Policy.build(PolicyConfig(model="scratch-0.2m"), texts=texts, seed=0)
        style = PromptConfig(style="compact", fragments="headers")
        self.prompt = PromptFormat(
            self.policy.tokenizer, style, described.fragments, described.headers, described.grammars
        )

    def train(self) -> float:
        """Imitate the demonstrations; return the loss."""
        rows = rows_from_demonstrations(self.demonstrations, self.prompt)
        with tempfile.TemporaryDirectory() as directory:
            config = SFTConfig(epochs=12, lr=4e-3, batch_size=64, micro_batches=2)
            return train_sft(self.policy, rows, config, StageRun("sft", Path(directory))).metrics["sft/loss"]

    def requests(self, number: int, constrained: bool) -> list[SampleRequest]:
        """Ask in demonstrated states, all spaces to choose from."""
        grammar = self.prompt.grammar(self.names) if constrained else ""
        states = [(d, turn) for d in self.demonstrations for turn in d.turns]
        return [
            SampleRequest(
                self.prompt.prompt_ids(d.instruction, self.names, [], turn.observation), seed, grammar=grammar
            )
            for seed in range(number)
            for d, turn in [states[seed * 7 % len(states)]]
        ]

    def actions(self, samples: list[Any]) -> int:
        """Count the responses that are an action."""
        texts = [self.prompt.decode(sample.response_ids) for sample in samples if sample.finish_reason == "stop"]
        return sum(isinstance(self.spaces.decode(text)[1], Action) for text in texts)


def actions(bench: Bench) -> dict[str, Any]:
    """Sample an untrained model."""
    begun = time.perf_counter()
    grammar = grammars_of(bench.policy.tokenizer, bench.policy.eot_id).compile(bench.prompt.grammar(bench.names))
    row: dict[str, Any] = {
        "what": "actions",
        "responses": RESPONSES,
        "compile_s": round(time.perf_counter() - begun, 3),
    }
    for name, constrained in (("constrained", True), ("free", False)):
        samples = FastSampler(bench.policy).sample(bench.requests(RESPONSES, constrained), SamplingParams(1.0, LIMIT))
        row |= {name: bench.actions(samples), f"{name}_distinct": len({s.response_ids for s in samples})}
    return {**row, "reserve": grammar.reserve, "max_new_tokens": LIMIT}


def cost(bench: Bench, repeats: int) -> list[dict[str, Any]]:
    """Decode the same prompts either way, by turns."""
    loss, rows = bench.train(), []
    asked = {name: bench.requests(PROMPTS, name == "constrained") for name in ("free", "constrained")}
    for repeat in range(repeats + 1):
        row: dict[str, Any] = {"what": "cost", "responses": PROMPTS, "sft_loss": round(loss, 3)}
        for name in list(asked)[:: 1 if repeat % 2 else -1]:
            sampler, begun = FastSampler(bench.policy), time.process_time()
            samples = sampler.sample(asked[name], SamplingParams(1.0, LIMIT))
            row |= {
                f"{name}_cpu_s": round(time.process_time() - begun, 4),
                f"{name}_tokens": sampler.timing.new_tokens,
                f"{name}_actions": bench.actions(samples),
            }
        per_token = [row[f"{name}_cpu_s"] / row[f"{name}_tokens"] for name in ("constrained", "free")]
        row["ratio"] = round(per_token[0] / per_token[1], 4)
        if repeat:  # the first warms up
            rows.append(row)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/constrained")
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    about = {
        "command": f"python benchmarks/constrained.py --repeats {args.repeats}",
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": 0,
    }
    bench = Bench(episodes=300)
    valid = actions(bench)
    costs = cost(bench, args.repeats)
    rows = [{**row, "load": round(os.getloadavg()[0], 1), **about} for row in (valid, *costs)]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ratio = statistics.median(row["ratio"] for row in costs)
    print(f"untrained: {valid['constrained']} of {RESPONSES} responses are actions; free decoding {valid['free']}")
    print(f"CPU time per token ÷ free decoding's {ratio:.3f} (limit {COST}); {[row['ratio'] for row in costs]}")
    return int(valid["constrained"] < RESPONSES or ratio > COST)


if __name__ == "__main__":
    raise SystemExit(main())
