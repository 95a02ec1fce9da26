"""Our decode loop beside transformers' ``generate``: a step, several turns, and whether both say the same.

    python benchmarks/decode.py [--repeats 3] [--out benchmarks/decode]

step    one decode step of a batch of 32 with a prompt of 530 tokens that all share (tiny Llama, 2.4 M parameters, float32): what 16
        more tokens take, ÷ 16; aim ≥ 5 × generate.
turns   32 episodes of 4 turns in groups of 8, 16 new tokens and an observation of 64 each, the whole history shown: keys and values
        kept, beside reading every prompt again; aim ≥ 2 ×.
greedy  tokens of greedy decoding in float32, 8 prompts of different lengths, 24 tokens: equal to generate's for tiny Llama, Qwen2,
        Qwen3, Gemma 3 (sliding windows) and the language side of Qwen2-VL.

One thread; the two sides take turns, the first of each is not counted. Seconds are CPU-seconds of the process: on an idle machine the same as
the clock's. Ratios are of medians. Exit code 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
)

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import common

from crossagent.plugin import SampleRequest, SamplingParams
from crossagent.policy.config import PolicyConfig
from crossagent.policy.matmul import set_matmul_precision
from crossagent.policy.model import Policy
from crossagent.sampling.fast import FastSampler

ROOT = Path(__file__).parents[1]
BATCH, PROMPT, STEPS = 32, 530, 16
TURNS, GROUP, SEEN = 4, 8, 64
AIMS = {"step": 5.0, "turns": 2.0}
SHAPE: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=16)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **SHAPE,
            head_dim=16,
            sliding_window=16,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        )
    ),
    "qwen2_vl": lambda: Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(
            text_config={
                **SHAPE,
                "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
            },
            vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
        )
    ),
}


def cpu_seconds(function: Callable[[], Any]) -> float:
    """Return the CPU-seconds of a call."""
    begun = time.process_time()
    function()
    return time.process_time() - begun


def steps(policy: Policy, repeats: int) -> list[dict[str, Any]]:
    """Time one decode step of both."""
    words = range(6, len(policy.tokenizer))
    prompt = tuple(random.Random(0).choices(words, k=PROMPT))
    ids = torch.tensor([prompt] * BATCH)
    sampler = FastSampler(policy, keep_kv=False)

    def generate(new: int) -> None:
        policy.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            pad_token_id=policy.pad_id,
        )

    def ours(new: int) -> None:
        sampler.sample([SampleRequest(prompt, seed) for seed in range(BATCH)], SamplingParams(max_new_tokens=new))

    rows = []
    for repeat in range(repeats + 1):
        row: dict[str, Any] = {"what": "step"}
        for name, side in (("generate", generate), ("ours", ours)):
            short, long = cpu_seconds(lambda side=side: side(1)), cpu_seconds(lambda side=side: side(1 + STEPS))
            row[f"{name}_ms"] = round(1e3 * (long - short) / STEPS, 3)
        if repeat:
            rows.append(row | {"ratio": round(row["generate_ms"] / row["ours_ms"], 2)})
    return rows


def turns(policy: Policy, repeats: int) -> list[dict[str, Any]]:
    """Time episodes with and without keeping keys and values."""
    words = range(6, len(policy.tokenizer))

    def play(keep: bool) -> None:
        draw = random.Random(1)
        starts = [tuple(draw.choices(words, k=PROMPT)) for _ in range(BATCH // GROUP)]
        prompts = [starts[k // GROUP] for k in range(BATCH)]
        sampler = FastSampler(policy, keep_kv=keep)
        for turn in range(TURNS):
            requests = [SampleRequest(prompt, 100 * turn + k) for k, prompt in enumerate(prompts)]
            samples = sampler.sample(requests, SamplingParams(max_new_tokens=STEPS))
            prompts = [
                (*prompt, *sample.response_ids, *draw.choices(words, k=SEEN))
                for prompt, sample in zip(prompts, samples, strict=True)
            ]

    rows = []
    for repeat in range(repeats + 1):
        again, kept = cpu_seconds(lambda: play(False)), cpu_seconds(lambda: play(True))
        if repeat:
            rows.append(
                {"what": "turns", "again_s": round(again, 3), "kept_s": round(kept, 3), "ratio": round(again / kept, 2)}
            )
    return rows


def greedy(name: str, tokenizer: Any) -> dict[str, Any]:
    """Compare greedy tokens."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    policy = Policy(model, tokenizer, PolicyConfig())
    draw = random.Random(2)
    prompts = [tuple(draw.choices(range(6, 250), k=length)) for length in (5, 9, 9, 17, 30, 31, 48, 48)]
    prompts[2], prompts[7] = prompts[1], prompts[6]
    theirs = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=policy.eot_id,
            pad_token_id=policy.pad_id,
        )
        theirs.append(tuple(out[0, len(prompt) :].tolist()))
    sampler = FastSampler(policy)
    samples = sampler.sample([SampleRequest(prompt, 0) for prompt in prompts], SamplingParams(0.0, 24))
    equal = sum(sample.response_ids == row for sample, row in zip(samples, theirs, strict=True))
    return {"what": "greedy", "model": name, "our_loop": sampler.supported, "equal": equal, "prompts": len(prompts)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/decode")
    args = parser.parse_args()
    torch.set_num_threads(1)
    set_matmul_precision("auto", "cpu")
    tokenizer, model = common.load(common.Case("tiny", "float32", 4, 400, 1e-3, 8))
    model.generation_config.eos_token_id = None
    policy = Policy(model, tokenizer, PolicyConfig())
    policy.eot_id = -1  # nobody stops early
    rows = [*steps(policy, args.repeats), *turns(policy, args.repeats), *(greedy(name, tokenizer) for name in MODELS)]
    about = {
        "command": f"python benchmarks/decode.py --repeats {args.repeats}",
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
        "seed": 0,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.jsonl").write_text("".join(json.dumps({**row, **about}) + "\n" for row in rows))
    missed = False
    for what, aim in AIMS.items():
        own = [row for row in rows if row["what"] == what]
        ratio = statistics.median(row["ratio"] for row in own)
        print(f"{what}: {ratio:.2f} × (aim {aim}); {own}")
        missed |= ratio < aim
    for row in rows:
        if row["what"] == "greedy":
            print(f"greedy {row['model']}: {row['equal']} of {row['prompts']} equal, our loop: {row['our_loop']}")
            missed |= row["equal"] < row["prompts"] or not row["our_loop"]
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
