"""What a strategy divides between processes, and what each of them keeps whole."""

from __future__ import annotations

from dataclasses import dataclass

from crossagent.errors import RecipeError, did_you_mean

_ZERO = "deepspeed_stage_"
STRATEGIES = (
    "auto", "ddp", "deepspeed_stage_1", "deepspeed_stage_1_offload", "deepspeed_stage_2", "deepspeed_stage_2_offload",
    "deepspeed_stage_3", "deepspeed_stage_3_offload_optimizer", "deepspeed_stage_3_offload", "fsdp2",
)  # fmt: skip
"""Values of ``trainer.strategy``."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """N processes, one device each; ZeRO's stages (arXiv 1910.02054) say what is divided by N.

    Stage 1 divides the optimiser's state, 2 the gradients too, 3 the weights too; fsdp2 divides like stage 3.
    """

    ranks: int = 1
    per_node: int = 1
    stage: int = 0
    engine: str = ""
    """``deepspeed``, ``fsdp2``, ``ddp``, or nothing: one process without any."""
    offload_optimizer: bool = False
    """Optimiser state, and the gradients it reads, are kept in the host's memory."""
    offload_parameters: bool = False
    """Weights are kept in the host's memory, and brought to the device layer by layer."""

    @classmethod
    def of(cls, strategy: str, devices: int = 1, nodes: int = 1) -> Sharding:
        """Return what a recipe's strategy, devices per node and nodes come to.

        Raises:
            RecipeError: A strategy that is not known, or fewer than one device.
        """
        if strategy not in STRATEGIES:
            raise RecipeError(f"trainer.strategy: got {strategy!r}. {did_you_mean(strategy, STRATEGIES)}")
        if devices < 1 or nodes < 1:
            raise RecipeError(f"trainer: got {devices} devices on {nodes} nodes; expected at least 1 of each")
        ranks = devices * nodes
        if strategy in ("auto", "ddp"):
            return cls(ranks, devices, 0, "ddp" if ranks > 1 else "")
        if strategy == "fsdp2":
            return cls(ranks, devices, 3, "fsdp2")
        number, _, offload = strategy.removeprefix(_ZERO).partition("_")
        stage = int(number)
        return cls(ranks, devices, stage, "deepspeed", bool(offload), offload == "offload" and stage == 3)

    def share(self, stage: int) -> int:
        """Return by how many what ``stage`` divides is divided."""
        return self.ranks if self.stage >= stage else 1
