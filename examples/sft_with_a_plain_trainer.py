"""Supervised training with an ordinary ``lightning.Trainer``: no recipe, no run directory, your own callbacks.

    python examples/sft_with_a_plain_trainer.py [EPISODES]

Plays demonstrations in the toy world, imitates them in three action spaces, prints the success before and after, and
leaves the policy in ``runs/example-sft`` for ``grpo_with_a_plain_trainer.py``.
"""

import sys

import lightning

from crossagent.demonstrations.collect import collect
from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.plugin import SamplingParams
from crossagent.policy.config import PolicyConfig, PromptConfig
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.registry.plugin_set import load_plugins
from crossagent.rollout.evaluate import evaluate, evaluation_list
from crossagent.sampling.fast import FastSampler
from crossagent.testing import toy_environment
from crossagent.training.batch import rows_from_demonstrations
from crossagent.training.config import SFTConfig
from crossagent.training.data import SFTDataModule
from crossagent.training.sft import SFTModule

SPACES = ("api", "gui", "control")
CHECKPOINT = "runs/example-sft"


def main(episodes: int = 400) -> None:
    """Collect, train, evaluate, save."""
    plugins = load_plugins().with_(environment=toy_environment())
    tasks = [task for task in plugins.suite("toy").tasks() if "train" in task.splits]
    config = WorldConfig(env=plugins.environment("toy"), spaces=tuple((plugins.space(name), {}) for name in SPACES))
    with WorkerPool(config, workers=1, worlds_per_worker=32, timeout_s=60) as pool:
        demonstrations = collect(
            pool, tasks, episodes=episodes, mixture={**dict.fromkeys(SPACES, 1), "mixed": 2}, seed=0
        )
        texts = [text for demo in demonstrations for turn in demo.turns for text in (turn.observation, turn.text)]
        policy = Policy.build(PolicyConfig(model="scratch-0.2m"), texts=[*texts, *(task.instruction for task in tasks)])
        described = pool.describe()
        style = PromptConfig(style="compact", fragments="headers")
        prompt = PromptFormat(policy.tokenizer, style, described.fragments, described.headers)

        def success() -> float:
            cell, _ = evaluate(
                evaluation_list("train", tasks, 60, seed=0),
                spaces=SPACES,
                pool=pool,
                sampler=FastSampler(policy),
                prompt=prompt,
                params=SamplingParams(temperature=0.0, max_new_tokens=24),
                seed=0,
                weights={},
            )
            return float(cell["success"])

        before = success()
        sft = SFTConfig(epochs=5, batch_size=64, micro_batches=2, lr=4e-3)
        data = SFTDataModule(rows_from_demonstrations(demonstrations, prompt), sft, policy.pad_id)
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,  # the schedule holds all epochs
            accumulate_grad_batches=data.schedule.parts,
            gradient_clip_val=sft.max_grad_norm,
            logger=False,
            enable_checkpointing=False,
        )
        trainer.fit(SFTModule(policy, sft, data.schedule.steps), data)
        print(f"success {before:.0%} -> {success():.0%} after {trainer.global_step} steps")
    policy.save(CHECKPOINT)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
