"""A process of its own that trains, dies by SIGKILL at a chosen point, and goes on: ``python kill_runs.py DIRECTORY CASE …``

A case is ``STAGE`` (uninterrupted) or ``STAGE:POINT`` (killed there, then continued). Everything is imported once; each
attempt is a fork of that process, so that a kill is a real one. Writes DIRECTORY/CASE/result.json, or error.txt.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from training_kit import SPACES, stage, toy_pool, toy_prompt, toy_tasks

from crossagent.demonstrations.collect import collect
from crossagent.envs.workers.pool import WorkerPool
from crossagent.policy import checkpoint
from crossagent.policy.config import LoraConfig, PolicyConfig
from crossagent.policy.model import Policy
from crossagent.sampling.base import GenerateSampler
from crossagent.training import resume
from crossagent.training.batch import rows_from_demonstrations
from crossagent.training.config import GRPOConfig, SFTConfig, StrlConfig
from crossagent.training.grpo import GRPOModule, train_grpo
from crossagent.training.sft import train_sft
from crossagent.training.sources import MtrlSource, StrlSource
from crossagent.training.stage import StageResult

PLAY = {
    "iterations": 5, "group_size": 4, "lr": 1e-3, "kl_coef": 0.05, "entropy_coef": 0.01, "checkpoint_every": 2,
    "drop_all_fail": False, "filter_zero_variance": False,
}  # fmt: skip
LAMBDA = {"api": 0.02, "gui": 0.02, "control": 0.02}


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def after(calls: int, function: Callable[..., Any], action: Callable[..., Any] = die) -> Callable[..., Any]:
    """Return ``function``, which does ``action`` in place of its ``calls``-th call."""
    count = 0

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return (action if count == calls else function)(*args, **kwargs)

    return counting


def arm(point: str) -> None:
    """Make this process die at ``point``."""
    if point == "rollout":  # in the fourth rollout, when its worlds are asked for the first time what a response does
        step, submit = GRPOModule.training_step, WorkerPool.submit
        at: list[int] = []

        def stepping(self: Any, iteration: Any, batch_idx: int) -> None:
            at.append(int(iteration))
            step(self, iteration, batch_idx)

        def submitting(self: Any, method: str, jobs: Any) -> Any:
            return die() if at[-1:] == [3] and method in ("act", "lower") else submit(self, method, jobs)

        GRPOModule.training_step, WorkerPool.submit = stepping, submitting  # type: ignore[method-assign]
    elif point == "update":
        torch.optim.AdamW.step = after(7, torch.optim.AdamW.step)  # type: ignore[method-assign]
    elif point == "checkpoint":  # half of the second resume point's state is on disk
        write, written = checkpoint.write_manifest, []

        def tear(directory: Path, meta: dict[str, Any]) -> None:
            if directory.name.startswith(f".{resume.RESUME}"):
                written.append(directory)
            if len(written) == 2:
                state = directory / resume.STATE
                os.truncate(state, state.stat().st_size // 2)
                die()
            write(directory, meta)

        checkpoint.write_manifest = tear
    elif point == "renaming":  # the first resume point has stepped aside, the second is not in its place yet
        replace, seen = os.replace, []

        def counting(source: Any, target: Any) -> None:
            if Path(target).name == resume.RESUME:
                seen.append(target)
                if len(seen) == 2:
                    die()
            replace(source, target)

        checkpoint.os.replace = counting  # type: ignore[assignment]
    elif point == "end":  # while the stage's checkpoint is written
        save = Policy.save

        def last(self: Policy, place: Path) -> None:
            save(self, place) if place.name != "checkpoint" else die()

        Policy.save = last  # type: ignore[method-assign, assignment]
    elif point == "term":  # an orderly end, asked for in the middle of the third iteration
        torch.optim.AdamW.step = _terminating(5, torch.optim.AdamW.step)  # type: ignore[method-assign]
    elif point:
        raise ValueError(point)


def _terminating(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    def ask(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return function(*args, **kwargs)

    return after(calls, function, ask)


class Work:
    """What all cases share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pool = toy_pool(worlds=16)
        mixture = {"api": 1, "gui": 1, "control": 1, "mixed": 2}
        self.demos = collect(self.pool, toy_tasks() + toy_tasks("demo"), episodes=60, mixture=mixture, seed=0)

    def policy(self, kind: str) -> Policy:
        """The policy a stage begins with: a fresh one, or what the uninterrupted SFT left."""
        if kind.startswith("sft"):
            texts = [text for d in self.demos for turn in d.turns for text in (turn.observation, turn.text)]
            config = PolicyConfig(model="scratch-0.1m", tokenizer_vocab=512, max_length=256)
            policy = Policy.build(config, texts=[*texts, *(t.instruction for t in toy_tasks())], seed=0)
            policy.save(self.directory / f"fresh-{os.getpid()}")
            model, lora = str(self.directory / f"fresh-{os.getpid()}"), None
            if kind == "sft-lora":
                lora = LoraConfig(r=4, dropout=0.3)
            return Policy.build(PolicyConfig(model, lora=lora), seed=1)
        return Policy.load(self.directory / "sft/checkpoint")

    def train(self, kind: str, point: str, directory: Path) -> StageResult:
        """Train a stage in ``directory``, to its end or to ``point``."""
        policy = self.policy(kind)
        arm(point)
        prompt = toy_prompt(policy, self.pool)
        if kind.startswith("sft"):
            config = SFTConfig(epochs=6, batch_size=64, micro_batches=2, lr=4e-3, checkpoint_every=3)
            return train_sft(policy, rows_from_demonstrations(self.demos, prompt), config, stage(directory))
        common = {
            "tasks": toy_tasks(), "spaces": SPACES, "pool": self.pool, "sampler": GenerateSampler(policy),
            "prompt": prompt, "max_new_tokens": 20, "seed": 7,
        }  # fmt: skip
        if kind == "strl":
            single = StrlConfig(**PLAY, groups=6)
            return train_grpo(policy, StrlSource(single, demonstrations=self.demos, **common), single, stage(directory))
        config = GRPOConfig(**PLAY, groups=3, resample_rounds=1, curriculum="uncertain", evaluate_every=2, keep="best")
        source = MtrlSource(config, weights=LAMBDA, **common)

        def evaluate(iteration: int) -> float:
            return float(next(policy.parameters()).detach().abs().sum()) * (-1) ** iteration

        return train_grpo(policy, source, config, stage(directory, evaluate=evaluate))


def attempt(work: Work, kind: str, point: str, directory: Path) -> int:
    """Train in a fork; return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        result = work.train(kind, point, directory)
        (directory / "result.json").write_text(json.dumps({"resumed_from": result.resumed_from, "steps": result.steps}))
        os._exit(0)
    except BaseException:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "error.txt").write_text(traceback.format_exc())
        os._exit(3)


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    directory = Path(sys.argv[1])
    work = Work(directory)
    for case in sys.argv[2:]:
        kind, _, point = case.partition(":")
        place = directory / case.replace(":", "-")
        status = attempt(work, kind, point, place) if point else 0
        (place.parent / f"{place.name}.status").write_text(str(status))
        if point:
            names = sorted(path.name for path in place.iterdir())
            (place.parent / f"{place.name}.left").write_text("\n".join(names))
            (place / "error.txt").unlink(missing_ok=True)
        attempt(work, kind, "", place)


if __name__ == "__main__":
    main()
