"""What a training process takes at its peak, beside what ``crossagent.planning`` says before.

    python benchmarks/memory_plan.py                 every case, a table, benchmarks/memory_plan.json
    python benchmarks/memory_plan.py full lora       these cases only; their rows of the file are replaced

Each case is a process of its own. It imports everything, trains a tiny model for a step (so that what is loaded late is
loaded), notes its resident memory and resets the kernel's peak; then it builds the policy and trains two steps with the real
SFT or GRPO stage, or samples with the default sampler. Measured is the peak over what was there before. glibc is told to
give large blocks back at once, so that the peak is of what is used and not of what the allocator holds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MIB = 2**20
VOCAB = 2048


@dataclass(frozen=True)
class Case:
    """One process."""

    name: str
    width: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 4
    feed_forward: int = 768
    kind: str = "llama"
    stage: str = "sft"
    """``sft``, ``grpo`` or ``sample``."""
    rows: int = 8
    """Of one micro-batch; responses at a time where sampled."""
    tokens: int = 512
    """Per row."""
    response: int = 32
    """Of them, trained."""
    micro_batches: int = 2
    lora: int = 0
    checkpointing: bool = False
    dtype: str = "float32"
    precision: str = "32-true"
    attention: str = "sdpa"
    reference: bool = False
    entropy: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """The model's ``config.json``."""
        return {
            "model_type": self.kind, "vocab_size": VOCAB, "hidden_size": self.width, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads, "intermediate_size": self.feed_forward,
            "max_position_embeddings": 4096, "tie_word_embeddings": True, "head_dim": self.width // self.heads,
        }  # fmt: skip


CASES = [
    Case("full"),
    Case("one micro-batch", micro_batches=1),
    Case("long context", rows=2, tokens=2048, response=128),
    Case("large micro-batch", rows=24),
    Case("checkpointing", rows=24, checkpointing=True),
    Case("lora", lora=8),
    Case("lora, checkpointing", rows=24, lora=8, checkpointing=True),
    Case("wide", width=768, layers=8, heads=12, feed_forward=2048, rows=4),
    Case("wide, few tokens", width=768, layers=8, heads=12, feed_forward=2048, rows=1, tokens=128),
    Case("wide, lora", width=768, layers=8, heads=12, feed_forward=2048, rows=4, lora=16),
    Case("grouped queries, biases", kind="qwen2", kv_heads=1),
    Case("norms of queries and keys", kind="qwen3", kv_heads=2),
    Case("eager attention", rows=4, attention="eager"),
    Case("bf16-true", dtype="bfloat16", precision="bf16-true", rows=16),
    Case("bf16-mixed", precision="bf16-mixed", rows=16),
    Case("grpo", stage="grpo"),
    Case("grpo, KL", stage="grpo", reference=True, width=768, layers=8, heads=12, feed_forward=2048, rows=4),
    Case("grpo, KL, lora", stage="grpo", reference=True, lora=8),
    Case("grpo, entropy, long responses", stage="grpo", entropy=True, rows=4, response=256),
    Case("sampling", stage="sample", rows=64, tokens=512, response=32),
    Case("sampling, grouped queries", stage="sample", rows=64, tokens=512, response=32, kind="qwen2", kv_heads=1),
]


def predicted(case: Case) -> dict[str, Any]:
    """Return what the model of memory says: bytes in all, phase, items."""
    from crossagent.estimate.memory import Job, Sampling, Scoring, Update, plan
    from crossagent.estimate.shape import shape_of

    update = scoring = sampling = None
    if case.stage == "sample":
        sampling = Sampling(case.rows, case.tokens, case.response, chunk=2048)
    else:
        update = Update(
            case.rows, case.tokens, case.rows * case.response, entropy=case.entropy, accumulates=case.micro_batches > 1
        )
    if case.stage == "grpo":
        scoring = Scoring(case.rows, case.tokens, case.rows * case.response)
    job = Job(
        shape_of(case.config),
        precision=case.precision,
        dtype=case.dtype,
        lora_rank=case.lora,
        checkpointing=case.checkpointing,
        eager=case.attention == "eager",
        update=update,
        scoring=scoring,
        sampling=sampling,
        reference=case.reference,
        foreach=False,
    )
    memory = plan(job)
    return {"bytes": memory.peak, "phase": memory.fullest, "items": dict(memory.phases[memory.fullest])}


# -- in a process of its own ----------------------------------------------------------------------------------------
def measure(case: Case, directory: Path) -> float:
    """Train or sample; return the peak of resident memory over what was there before, in bytes."""
    import torch

    torch.set_num_threads(1)
    _work(Case("warm up", width=32, layers=1, heads=2, kv_heads=2, feed_forward=32, rows=2, tokens=64, response=8,
               stage=case.stage, lora=case.lora, precision=case.precision, dtype=case.dtype, kind=case.kind,
               reference=case.reference, entropy=case.entropy, attention=case.attention,
               checkpointing=case.checkpointing), directory / "warm")  # fmt: skip
    import gc

    gc.collect()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    _work(case, directory / "run")
    return float(_status("VmHWM") - before)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {name}: this benchmark needs Linux")


def _work(case: Case, directory: Path) -> None:
    import random

    from crossagent.plugin import SampleRequest, SamplingParams
    from crossagent.policy.config import LoraConfig, PolicyConfig
    from crossagent.policy.model import Policy
    from crossagent.sampling.fast import FastSampler
    from crossagent.training.batch import rows_from_trajectories
    from crossagent.training.config import GRPOConfig, SFTConfig, TrainerConfig
    from crossagent.training.grpo import train_grpo
    from crossagent.training.sft import train_sft
    from crossagent.training.sources import Rollouts
    from crossagent.training.stage import StageRun
    from crossagent.types import StopReason, Trajectory, Turn

    model = directory / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(case.config), encoding="utf-8")
    words = " ".join(f"word{i}" for i in range(4 * VOCAB))
    policy = Policy.build(
        PolicyConfig(
            model=str(model),
            tokenizer_vocab=VOCAB,
            dtype=case.dtype,
            attention=case.attention,
            gradient_checkpointing=case.checkpointing,
            lora=LoraConfig(r=case.lora) if case.lora else None,
        ),
        texts=[words],
    )
    draw = random.Random(0)
    ids = lambda count: tuple(draw.randrange(300, 1500) for _ in range(count))  # noqa: E731
    if case.stage == "sample":
        requests = [SampleRequest(ids(case.tokens), i) for i in range(case.rows)]
        FastSampler(policy, keep_kv=False).sample(requests, SamplingParams(1.0, case.response))
        return

    def trajectory(group: int, member: int) -> Trajectory:
        response = ids(case.response)
        turn = Turn(ids(case.tokens - case.response), response, (-1.0,) * case.response, space="a")
        return Trajectory("t", "c", "e", group, group, member, (turn,), StopReason.terminated, member % 2 == 0)

    count = case.rows * case.micro_batches
    run = StageRun("s", directory / "stage", trainer=TrainerConfig(precision=case.precision))
    if case.stage == "sft":
        rows = rows_from_trajectories([trajectory(0, m) for m in range(count)])
        config = SFTConfig(epochs=2.0, batch_size=count, micro_batches=case.micro_batches, checkpoint_every=0)
        train_sft(policy, rows, config, run)
        return

    class Fixed:
        spaces: tuple[str, ...] = ("a",)
        weights: dict[str, float] = {}  # noqa: RUF012

        def play(self, iteration: int) -> Rollouts:
            played = tuple(trajectory(0, m) for m in range(count))
            return Rollouts(played, tuple((float(t.success),) for t in played))

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None:
            pass

    grpo = GRPOConfig(
        iterations=2, groups=1, group_size=count, minibatches=1, micro_batch_tokens=case.rows * case.tokens,
        logprob_batch_tokens=case.rows * case.tokens, kl_coef=0.01 if case.reference else 0.0,
        entropy_coef=0.01 if case.entropy else 0.0, checkpoint_every=0,
    )  # fmt: skip
    train_grpo(policy, Fixed(), grpo, run)


# -- the table --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Result:
    """Of one case."""

    case: Case
    measured: float
    predicted: float
    phase: str
    items: dict[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """Relative to what was measured."""
        return self.predicted / self.measured - 1.0


def run_case(case: Case) -> Result:
    """Measure a case in a process of its own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
        "MALLOC_ARENA_MAX": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--measure", json.dumps(asdict(case)), folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name}: {done.stderr[-2000:]}")
    said = predicted(case)
    return Result(case, float(done.stdout.split()[-1]), said["bytes"], said["phase"], said["items"])


def write(results: list[Result]) -> None:
    """Put the rows of these cases into the file of results, in the order of the cases."""
    file = HERE / "memory_plan.json"
    rows = {row["name"]: row for row in (json.loads(file.read_text())["cases"] if file.is_file() else [])}
    for r in results:
        rows[r.case.name] = {
            "name": r.case.name, "predicted_mib": round(r.predicted / MIB, 1), "phase": r.phase,
            "measured_mib": round(r.measured / MIB, 1), "error_percent": round(100 * r.error, 1),
        }  # fmt: skip
    content = {
        "command": "python benchmarks/memory_plan.py",
        "machine": f"{platform.machine()}, Python {platform.python_version()}, one thread",
        "cases": [rows[case.name] for case in CASES if case.name in rows],
    }
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--items", action="store_true", help="also print what the prediction consists of")
    args = parser.parse_args()
    if args.measure:
        print(measure(Case(**json.loads(args.measure[0])), Path(args.measure[1])))
        return 0
    chosen = [case for case in CASES if not args.names or case.name in args.names]
    results = []
    print(f"{'case':32} {'predicted':>10} {'measured':>10} {'error':>7}  fullest phase")
    for case in chosen:
        result = run_case(case)
        results.append(result)
        print(
            f"{case.name:32} {result.predicted / MIB:6.0f} MiB {result.measured / MIB:6.0f} MiB "
            f"{100 * result.error:+6.1f}%  {result.phase}",
            flush=True,
        )
        if args.items:
            print("    " + ", ".join(f"{name} {value / MIB:.0f}" for name, value in result.items.items()))
    worst = max(results, key=lambda result: abs(result.error))
    print(f"largest error: {100 * worst.error:+.1f}% ({worst.case.name})")
    write(results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
