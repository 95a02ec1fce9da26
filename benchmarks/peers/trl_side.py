"""TRL's side of ``rollout_vs_trl.py``: GRPOTrainer with a rollout function of three turns, or SFTTrainer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
sys.path.insert(0, str(Path(__file__).parent))
import common
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from crossagent.envs.world import World

OPTIONS: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "max_steps": 1000,
    "lr_scheduler_type": "constant",
    "report_to": [],
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "gradient_checkpointing": False,
}


class Gate(TrainerCallback):
    """Takes a step when the driver says so."""

    def __init__(self, stepper: common.Stepper) -> None:
        self.stepper = stepper

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.stepper.wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.stepper.done()


def grpo(case: common.Case, out: str, stepper: common.Stepper) -> None:
    """Take GRPO steps."""
    tokenizer, model = common.load(case)
    prompt = common.prompt_format(tokenizer)
    worlds = [World(common.world(tokenizer, case)) for _ in range(case.episodes)]
    by_name = {task.name: task for task in common.tasks()}
    header, eot, pad = list(prompt.forced_ids("say")), tokenizer.eos_token_id, tokenizer.pad_token_id

    def rollout(names: list[str], trainer: Any) -> dict[str, Any]:
        """Play episodes with ``generate``, which reads the whole history each turn."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        observations = [w.reset(by_name[n], 0).observation.text for w, n in zip(worlds, names, strict=True)]
        history: list[list[Any]] = [[] for _ in names]
        first, text = [[] for _ in names], [[] for _ in names]
        mask: list[list[int]] = [[] for _ in names]
        training = model.training
        model.eval()
        for turn in range(common.TURNS):
            ids = [
                [*prompt.prompt_ids(by_name[n].instruction, ("say",), h, o), *header]
                for n, h, o in zip(names, history, observations, strict=True)
            ]
            width = max(map(len, ids))
            padded = torch.tensor([[pad] * (width - len(row)) + row for row in ids])
            attention = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
            with torch.no_grad():
                generated = model.generate(
                    input_ids=padded,
                    attention_mask=attention,
                    max_new_tokens=common.NEW,
                    do_sample=True,
                    temperature=1.0,
                    top_k=0,
                    eos_token_id=eot,
                    pad_token_id=pad,
                )
            for k, row in enumerate(generated[:, width:].tolist()):
                said = row[: row.index(eot) + 1] if eot in row else row
                if not turn:
                    first[k] = ids[k]
                else:
                    mask[k] += [0] * (len(ids[k]) - len(first[k]) - len(mask[k]))
                mask[k] += [1] * len(said)
                text[k] = [*ids[k], *said]
                acted = worlds[k].act(prompt.decode([*header, *said]))
                history[k].append((observations[k], (*header, *said)))
                observations[k] = acted.observation.text
        model.train(training)
        completions = [whole[len(start) :] for whole, start in zip(text, first, strict=True)]
        stepper.about["tokens"] = sum(map(sum, mask))
        stepper.about["samples"] = len(names)
        said = [[prompt.decode(ids) for _, ids in own] for own in history]
        return {"prompt_ids": first, "completion_ids": completions, "logprobs": None, "env_mask": mask, "said": said}

    config = GRPOConfig(
        output_dir=out,
        learning_rate=case.lr,
        per_device_train_batch_size=case.micro,
        gradient_accumulation_steps=case.episodes // case.micro,
        num_generations=common.GROUP,
        max_completion_length=4096,
        beta=0.0,
        temperature=1.0,
        **OPTIONS,
    )
    trainer = GRPOTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": name} for name in by_name]),
        reward_funcs=lambda said, **_: [common.reward(own) for own in said],
        processing_class=tokenizer,
        rollout_func=rollout,
        callbacks=[Gate(stepper)],
    )
    trainer._generate = stepper.timed("rollout", trainer._generate)
    trainer.train()


def sft(case: common.Case, out: str, stepper: common.Stepper) -> None:
    """Take SFT steps of 32 rows."""
    tokenizer, model = common.load(case)
    pairs = common.sft_pairs(tokenizer, case)
    rows = [{"input_ids": [*p, *r], "completion_mask": [0] * len(p) + [1] * len(r)} for p, r in pairs]
    config = SFTConfig(
        output_dir=out,
        learning_rate=case.lr,
        per_device_train_batch_size=case.micro,
        gradient_accumulation_steps=32 // case.micro,
        completion_only_loss=True,
        max_length=4096,
        **OPTIONS,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[Gate(stepper)],
    )
    compute = trainer.compute_loss

    def counted(model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
        stepper.about["tokens"] = stepper.about.get("tokens", 0) + int(inputs["attention_mask"].sum())
        stepper.about["trained"] = stepper.about.get("trained", 0) + int((inputs["labels"] != -100).sum())
        return compute(model, inputs, *arguments, **named)

    trainer.compute_loss = counted
    trainer.train()


if __name__ == "__main__":
    torch.set_num_threads(1)
    stepper = common.Stepper()
    {"grpo": grpo, "sft": sft}[sys.argv[2]](common.case_from(sys.argv[1:]), sys.argv[3], stepper)
