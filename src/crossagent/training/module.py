"""What SFT and GRPO have in common as LightningModules: the policy that acts, and the weights that train."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from crossagent.distributed import Ranks
from crossagent.policy.model import Policy
from crossagent.training.resume import load_module_state, restore_generators, save_module_state
from crossagent.training.strategies import FSDP2, DeepSpeed, needs_copy


class PolicyModule(lightning.LightningModule):
    """Trains a policy in place, under any strategy of :mod:`crossagent.training.strategies`.

    ``policy`` samples, scores and is saved. ``trained`` is what the optimiser moves: the policy itself, or, where the strategy
    keeps its weights in shards, a copy of it, from which :meth:`refresh` brings the policy up to date. So nothing ever samples
    from sharded weights, and ranks whose episodes end early wait for nobody.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.trained = policy
        self._policy = [policy]  # in a list, so that a whole copy is no part of this module
        self.metrics: dict[str, float] = {}
        """The row of the step or iteration that was just done."""
        self._generators: Mapping[str, Any] | None = None

    @property
    def policy(self) -> Policy:
        """The policy with whole weights, as of the last :meth:`refresh`."""
        return self._policy[0]

    @property
    def trained_parameters(self) -> list[nn.Parameter]:
        """What the optimiser moves."""
        return [p for p in self.trained.parameters() if p.requires_grad]

    def looks(self, pictures: bool) -> bool:
        """Return whether every pass has to run the layers that read pictures (``Policy.logprobs``): some row of the training
        has ``pictures``; or none has, but DDP waits for a gradient of every weight.
        """
        return pictures or isinstance(self.trainer.strategy, DDPStrategy)

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring ``policy`` up to date. All ranks do it together."""
        if self.trained is self.policy:
            return
        strategy = self.trainer.strategy
        assert isinstance(strategy, DeepSpeed | FSDP2)  # nothing else needs a copy
        own = dict(self.policy.named_parameters())
        for name, parameter in self.trained.named_parameters():
            if parameter.requires_grad:
                own[name].copy_(strategy.whole(parameter))

    # -- what Lightning asks -------------------------------------------------------------------------------------
    def setup(self, stage: str) -> None:
        """Copy the policy where the strategy will take the weights apart; before it does, as adapters could not be made after."""
        if self.trained is self.policy and needs_copy(self.trainer.strategy, self.policy):
            _ = self.policy.packs  # tried before there are shards
            self.trained = copy.deepcopy(self.policy)
            self.policy.to(self.trainer.strategy.root_device)

    def configure_model(self) -> None:
        """Shard, under FSDP2; DeepSpeed does it by itself."""
        if isinstance(self.trainer.strategy, FSDP2):
            self.trainer.strategy.shard(self.trained)

    def on_train_start(self) -> None:
        """After a restart, take over the weights that were restored."""
        self.refresh()

    def on_train_end(self) -> None:
        """Leave the policy as it was trained."""
        self.refresh()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Go on with the generators of before a restart: what Lightning draws until the first batch must not count."""
        if self._generators is not None:
            restore_generators(self._generators)
            self._generators = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not keep. All ranks do it together."""
        save_module_state(self, checkpoint, Ranks.current())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back; the generators when the first batch begins."""
        self._generators = load_module_state(self, checkpoint, Ranks.current())
