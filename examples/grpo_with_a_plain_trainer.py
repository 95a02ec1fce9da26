"""Reinforcement with an ordinary ``lightning.Trainer``: one training step plays groups of episodes, then updates.

    python examples/sft_with_a_plain_trainer.py
    python examples/grpo_with_a_plain_trainer.py [ITERATIONS]

Goes on from the policy of the first script. λ makes each second of the world cost something, so that the policy learns
which level of action is worth its price.
"""

import sys

import lightning

from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.policy.config import PromptConfig
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.registry.plugin_set import load_plugins
from crossagent.sampling.fast import FastSampler
from crossagent.testing import toy_environment
from crossagent.training.config import GRPOConfig
from crossagent.training.data import RolloutDataModule
from crossagent.training.grpo import GRPOModule
from crossagent.training.sources import MtrlSource

SPACES = ("api", "gui", "control")


class Show(lightning.Callback):
    """Prints what an iteration played."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        shown = {
            name: round(module.metrics[name], 3)
            for name in ("rollout/success", "rollout/return")
            if name in module.metrics
        }
        print(f"iteration {batch_idx + 1}: {shown}")


def main(iterations: int = 12, checkpoint: str = "runs/example-sft") -> None:
    """Play and update, on one thread of one CPU."""
    plugins = load_plugins().with_(environment=toy_environment())
    tasks = [task for task in plugins.suite("toy").tasks() if "train" in task.splits]
    config = WorldConfig(env=plugins.environment("toy"), spaces=tuple((plugins.space(name), {}) for name in SPACES))
    policy = Policy.load(checkpoint)
    grpo = GRPOConfig(iterations=iterations, groups=8, group_size=6, lr=5e-4)
    with WorkerPool(config, workers=1, worlds_per_worker=48, timeout_s=60) as pool:
        described = pool.describe()
        style = PromptConfig(style="compact", fragments="headers")
        source = MtrlSource(
            grpo,
            tasks=tasks,
            spaces=SPACES,
            weights=dict.fromkeys(SPACES, 0.02),
            pool=pool,
            sampler=FastSampler(policy),
            prompt=PromptFormat(policy.tokenizer, style, described.fragments, described.headers),
            max_new_tokens=24,
            seed=0,
        )
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            callbacks=[Show()],
        )
        trainer.fit(GRPOModule(policy, source, grpo), RolloutDataModule(iterations))
    policy.save("runs/example-grpo")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
