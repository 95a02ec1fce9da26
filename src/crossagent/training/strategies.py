"""Over which processes the weights, gradients and optimiser states of one training are spread: Lightning's strategies, by the
names of a recipe, on CPU processes and GPUs alike.

Whatever the strategy: gradients are averaged over ranks, ``block_backward_sync`` encloses every backward pass but the last
of an optimiser step, :func:`optimiser_step` clips by the norm over all ranks, and a resume point holds whole weights and
torch's optimiser state, so that another strategy or number of processes can go on from it.
"""

from __future__ import annotations

import importlib.util
import math
import os
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    ModelParallelStrategy,
    ParallelStrategy,
    Strategy,
)
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from typing_extensions import override

from crossagent.distributed import PATIENCE, Ranks
from crossagent.errors import CrossAgentError, MissingExtraError
from crossagent.training.config import STRATEGIES

_MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter, besides the number of steps."""


def build_strategy(name: str, *, accelerator: str, ranks: Ranks, max_grad_norm: float) -> Strategy | str:
    """Return what ``lightning.Trainer(strategy=…)`` takes.

    Args:
        name: One of ``trainer.strategy``.
        accelerator: The recipe's.
        ranks: Who takes part.
        max_grad_norm: To which gradients are clipped; DeepSpeed wants to know it beforehand.

    Raises:
        MissingExtraError: DeepSpeed is not installed.
    """
    if name == "auto":
        name = "ddp" if ranks.size > 1 else "auto"
    if name == "auto":
        return name
    if name == "ddp":
        return DDPStrategy(timeout=PATIENCE)
    if name == "fsdp2":
        return FSDP2(ranks.size)
    shape = STRATEGIES[name]
    return DeepSpeed(
        shape.stage,
        offload_optimizer=shape.offload_optimizer,
        offload_parameters=shape.offload_parameters,
        max_grad_norm=max_grad_norm,
        accelerator=accelerator,
    )


def cluster_environment(ranks: Ranks) -> ClusterEnvironment:
    """Return where Lightning learns of the other processes: always from the variables that torchrun sets, never by itself."""
    return TorchElasticEnvironment() if ranks.size > 1 else LightningEnvironment()


def needs_copy(strategy: Strategy, policy: nn.Module) -> bool:
    """Return whether the strategy leaves the weights it trains in a state in which they can neither sample nor be saved: in
    shards, or of another type. A whole copy then does that.
    """
    if isinstance(strategy, FSDP2):
        return True
    if isinstance(strategy, DeepSpeed):
        kept = {p.dtype for p in policy.parameters()} == {torch.float32} and strategy.keeps_type
        return strategy.stage == 3 or not kept
    if isinstance(strategy, DeepSpeedStrategy | ModelParallelStrategy):
        raise CrossAgentError(
            f"strategy: {type(strategy).__name__} shards the policy, which has to sample and to be saved whole; expected "
            "crossagent.training.strategies.build_strategy(…), which knows how"
        )
    return False


def accumulating(strategy: Strategy, last: bool) -> AbstractContextManager[None]:
    """Return the context of one of several backward passes of an optimiser step; the ``last`` one reduces over ranks."""
    return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) and not last else nullcontext()


def fill_gradients(strategy: Strategy, parameters: Sequence[nn.Parameter]) -> None:
    """Give weights that nothing of a step used (what reads pictures, in a step without any) a gradient of 0, as ranks and shards
    do: else one process would leave them where several move them on.
    """
    if isinstance(strategy, DeepSpeed):
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def gradient_norm(parameters: Sequence[nn.Parameter]) -> float:
    """Return the norm of the gradients, over all ranks; not under DeepSpeed, which keeps them to itself."""
    norms = [p.grad.norm() for p in parameters if p.grad is not None]
    return float(_full(torch.stack(norms).norm())) if norms else 0.0


def optimiser_step(strategy: Strategy, optimiser: Any, parameters: Sequence[nn.Parameter], max_norm: float) -> float:
    """Clip the gradients, make the step, and return the norm they had. Where that is not finite, no step is made."""
    if isinstance(strategy, DeepSpeed):
        optimiser.step()
        return strategy.last_norm
    fill_gradients(strategy, parameters)
    norm = float(_full(nn.utils.clip_grad_norm_(list(parameters), max_norm)))
    if math.isfinite(norm):
        optimiser.step()
    return norm


class _Portable(Strategy):
    """Of a strategy that shards: weights and optimiser states leave and enter it whole, in torch's own format.

    A parameter at a time, so that no device ever holds all of them; rank 0 alone keeps what it has seen.
    """

    def whole(self, parameter: nn.Parameter) -> Tensor:
        """Return a parameter's value, in the precision it is trained in. All ranks ask for it."""
        raise NotImplementedError

    def put(self, parameter: nn.Parameter, value: Tensor) -> None:
        """Give a parameter a value."""
        raise NotImplementedError

    def moment(self, parameter: nn.Parameter, key: str) -> Tensor:
        """Return what the optimiser keeps of a parameter. All ranks ask for it."""
        raise NotImplementedError

    def steps_made(self) -> int:
        """Return how many steps the optimiser has made; 0: it keeps nothing yet."""
        raise NotImplementedError

    def begin_optimiser(self, steps: int, parameters: Sequence[nn.Parameter]) -> None:
        """Make room for what the optimiser keeps, as after so many steps."""
        raise NotImplementedError

    def put_moment(self, parameter: nn.Parameter, key: str, value: Tensor) -> None:
        """Give the optimiser what it keeps of a parameter."""
        raise NotImplementedError

    def groups(self) -> list[tuple[dict[str, Any], list[nn.Parameter]]]:
        """Return the optimiser's parameter groups (they count as they are now), and the module's parameters in each."""
        raise NotImplementedError

    # -- what Lightning asks -----------------------------------------------------------------------------------------
    @property
    @override
    def restore_checkpoint_after_setup(self) -> bool:
        return True

    @property
    @override
    def lightning_restore_optimizer(self) -> bool:
        return True

    @override
    def lightning_module_state_dict(self) -> dict[str, Any]:
        module = self._module
        parameters = dict(module.named_parameters(remove_duplicate=False))
        found: dict[str, Any] = {}
        once: dict[int, Tensor | None] = {}
        for name, value in module.state_dict().items():
            parameter = parameters.get(name)
            if parameter is None:
                found[name] = value
            elif parameter.requires_grad:
                if id(parameter) not in once:
                    once[id(parameter)] = self._keep(self.whole(parameter))
                found[name] = once[id(parameter)]
        return found

    @override
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        parameters = dict(self._module.named_parameters(remove_duplicate=False))
        buffers = dict(self._module.named_buffers())
        done: set[int] = set()
        with torch.no_grad():
            for name, value in checkpoint["state_dict"].items():
                if name in buffers:
                    buffers[name].copy_(value)
                elif id(parameters[name]) not in done:
                    done.add(id(parameters[name]))
                    self.put(parameters[name], value)

    @override
    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        state: dict[int, dict[str, Any]] = {}
        groups: list[dict[str, Any]] = []
        number, steps = 0, self.steps_made()
        for group, parameters in self.groups():
            groups.append({**group, "params": list(range(number, number + len(parameters)))})
            for parameter in parameters:
                if steps:
                    kept = {key: self._keep(self.moment(parameter, key)) for key in _MOMENTS}
                    state[number] = {"step": torch.tensor(float(steps)), **kept}
                number += 1
        return {"state": state, "param_groups": groups}

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        (stored,) = checkpoint["optimizer_states"]
        groups = self.groups()
        for (group, _), saved in zip(groups, stored["param_groups"], strict=True):
            group.update({key: value for key, value in saved.items() if key != "params"})
        parameters = [p for _, members in groups for p in members]
        if not stored["state"]:
            return
        self.begin_optimiser(int(stored["state"][0]["step"]), parameters)
        with torch.no_grad():
            for number, parameter in enumerate(parameters):
                for key in _MOMENTS:
                    self.put_moment(parameter, key, stored["state"][number][key])

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options=storage_options)

    @override
    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        loaded: dict[str, Any] = self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=weights_only)
        return loaded

    @property
    def _module(self) -> nn.Module:
        assert self.lightning_module is not None
        return self.lightning_module

    def _keep(self, value: Tensor) -> Tensor | None:
        return value.detach().cpu().clone() if self.is_global_zero else None


class DeepSpeed(_Portable, DeepSpeedStrategy):
    """ZeRO stage 1, 2 or 3 (arXiv 1910.02054), on GPUs and, unlike Lightning's, on CPU processes too.

    Lightning accumulates here as for every other strategy: DeepSpeed is told that each step has one micro-batch, and by
    :meth:`block_backward_sync` that a backward pass is not the last. Otherwise both would divide by their number, and
    several backward passes within one ``training_step`` would lose all gradients but the last.
    """

    def __init__(
        self,
        stage: int,
        *,
        offload_optimizer: bool,
        offload_parameters: bool,
        max_grad_norm: float,
        accelerator: str,
    ) -> None:
        self.on_cpu = accelerator == "cpu" or not torch.cuda.is_available()
        if self.on_cpu:
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        if importlib.util.find_spec("deepspeed") is None:
            raise MissingExtraError(
                f"trainer.strategy: deepspeed_stage_{stage} needs the package deepspeed, which is not installed. "
                "Fix: pip install 'crossagent[deepspeed]'"
            )
        super().__init__(
            stage=stage,
            offload_optimizer=offload_optimizer,
            offload_parameters=offload_parameters,
            overlap_comm=not self.on_cpu,
            logging_batch_size_per_gpu=1,  # the loader has none that it could find
            timeout=PATIENCE,
        )
        self.stage = stage
        self.config: dict[str, Any]
        self.config["gradient_clipping"] = max_grad_norm
        self.config["zero_force_ds_cpu_optimizer"] = False  # offloaded or not, the optimiser is torch's AdamW
        self._members: list[list[nn.Parameter]] = []

    @property
    def keeps_type(self) -> bool:
        """Whether the weights stay in fp32; else DeepSpeed trains a copy in fp32 and rounds the weights to it."""
        return str(self.precision_plugin.precision) == "32-true"

    @property
    def last_norm(self) -> float:
        """The norm of the gradients of the last step, before they were clipped; infinite where it made none."""
        return float(self.deepspeed_engine.get_global_grad_norm() or 0.0)

    @property
    @override
    def handles_gradient_accumulation(self) -> bool:
        return False

    @contextmanager
    @override
    def block_backward_sync(self) -> Iterator[None]:
        """Enclose a backward pass that is not the last of its step."""
        engine = self.deepspeed_engine
        engine.set_gradient_accumulation_boundary(False)
        try:
            yield
        finally:
            engine.set_gradient_accumulation_boundary(True)
            # It counts backward passes in engine.forward, which runs once in a training_step: else ZeRO-3 would write each
            # gradient over the one before.
            engine.optimizer.clear_backward_seen_flag()

    # -- Lightning's, where it thinks of CUDA alone or of one dividing twice ---------------------------------------------
    @override
    def setup_environment(self) -> None:
        if self.on_cpu:
            DDPStrategy.setup_environment(self)
        else:
            super().setup_environment()

    @override
    def setup_distributed(self) -> None:
        if not self.on_cpu:
            super().setup_distributed()
            return
        import deepspeed

        # Its own reduction through shared memory would be compiled first, by one process while the others wait for a lock file
        # (for ever, if that one was killed), and it spins on flags that a dead rank never sets. Gloo notices.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self.set_world_ranks()
        os.environ.setdefault("LOCAL_SIZE", str(self.num_processes))
        self._init_deepspeed_distributed()

    @override
    def setup(self, trainer: Any) -> None:
        super().setup(trainer)
        self.deepspeed_engine.set_gradient_accumulation_boundary(True)

    @override
    def _format_batch_size_and_grad_accum_config(self) -> None:
        self.config["gradient_accumulation_steps"] = 1

    @override
    def _format_config(self) -> None:
        super()._format_config()
        if "bf16" in self.config:
            self.config["bf16"]["check_grad_overflow"] = True  # a step without a finite gradient is left out

    @override
    def _setup_model_and_optimizer(self, model: nn.Module, optimizer: Any, lr_scheduler: Any = None) -> Any:
        import deepspeed

        self._members = [list(group["params"]) for group in optimizer.param_groups]
        elements = sum(p.numel() for members in self._members for p in members)
        zero = self.config[
            "zero_optimization"
        ]  # a bucket is made, and under `deterministic` filled, in each backward pass
        zero["reduce_bucket_size"] = min(zero["reduce_bucket_size"], elements)
        where = {} if self.on_cpu else {"args": Namespace(device_rank=self.root_device.index)}
        engine, wrapped, _, _ = deepspeed.initialize(
            **where,
            config=self.config,
            model=model,
            model_parameters=[p for p in model.parameters() if p.requires_grad],
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            dist_init_required=False,
        )
        return engine, wrapped

    # -- whole weights and states ------------------------------------------------------------------------------------
    @override
    def whole(self, parameter: nn.Parameter) -> Tensor:
        from deepspeed.utils import safe_get_full_fp32_param

        whole: Tensor = safe_get_full_fp32_param(parameter)
        return whole

    @override
    def put(self, parameter: nn.Parameter, value: Tensor) -> None:
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        value = value.to(self.root_device, torch.float32)
        if self.stage == 3:
            safe_set_local_fp32_param(parameter, self._part(parameter, value))
            with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
                parameter.data.copy_(value)
        else:
            safe_set_full_fp32_param(parameter, value)
            parameter.data.copy_(value)

    @override
    def moment(self, parameter: nn.Parameter, key: str) -> Tensor:
        from deepspeed.utils import safe_get_full_optimizer_state

        moment: Tensor = safe_get_full_optimizer_state(parameter, key)
        return moment

    @override
    def put_moment(self, parameter: nn.Parameter, key: str, value: Tensor) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        value = value.to(self.root_device, torch.float32)
        if self.stage == 3:
            safe_set_local_optimizer_state(parameter, self._part(parameter, value), key)
        else:
            safe_set_full_optimizer_state(parameter, value, key)

    def _part(self, parameter: Any, value: Tensor) -> Tensor:
        """Return this rank's part of a value, with zeros where the last part is not full."""
        length = parameter.ds_tensor.numel()
        mine = value.flatten()[length * self.global_rank : length * (self.global_rank + 1)]
        return nn.functional.pad(mine, (0, length - len(mine)))

    @override
    def steps_made(self) -> int:
        states = self.deepspeed_engine.optimizer.optimizer.state
        return max((int(state["step"]) for state in states.values() if "step" in state), default=0)

    @override
    def begin_optimiser(self, steps: int, parameters: Sequence[nn.Parameter]) -> None:
        zero = self.deepspeed_engine.optimizer
        flat = zero.fp32_partitioned_groups_flat if self.stage == 3 else zero.single_partition_of_fp32_groups
        for partition in flat:
            zero.optimizer.state[partition] = {
                "step": torch.tensor(float(steps)),
                **{key: torch.zeros_like(partition) for key in _MOMENTS},
            }
        self._link_states()

    @override
    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        self._link_states()
        return super().optimizer_state(optimizer)

    def _link_states(self) -> None:
        """Let parameters find their optimiser states. By itself ZeRO 1 and 2 do it in the first step, after its first group."""
        zero = self.deepspeed_engine.optimizer
        if self.stage != 3 and zero.optimizer.state:
            zero._hp_optimizer_states_linked = False
            zero._lazy_init_hp_params_optimizer_state()

    @override
    def groups(self) -> list[tuple[dict[str, Any], list[nn.Parameter]]]:
        return list(zip(self.deepspeed_engine.optimizer.optimizer.param_groups, self._members, strict=True))


class FSDP2(_Portable, ModelParallelStrategy):
    """Every layer's weights in as many shards as there are processes (``torch.distributed.fsdp.fully_shard``)."""

    def __init__(self, size: int) -> None:
        super().__init__(
            data_parallel_size=size, tensor_parallel_size=1, save_distributed_checkpoint=False, timeout=PATIENCE
        )

    def shard(self, policy: Any) -> None:
        """Shard a policy's model in place: each of its layers, then what is left."""
        mesh = self.device_mesh["data_parallel"]
        for layer in policy.layers():
            fully_shard(layer, mesh=mesh)
        fully_shard(policy.model, mesh=mesh)

    @override
    def whole(self, parameter: nn.Parameter) -> Tensor:
        return _full(parameter.detach())

    @override
    def put(self, parameter: nn.Parameter, value: Tensor) -> None:
        parameter.detach().copy_(self._sharded(parameter, value))

    @override
    def moment(self, parameter: nn.Parameter, key: str) -> Tensor:
        return _full(self._optimiser.state[parameter][key])

    @override
    def put_moment(self, parameter: nn.Parameter, key: str, value: Tensor) -> None:
        self._optimiser.state[parameter][key].copy_(self._sharded(parameter, value))

    @override
    def steps_made(self) -> int:
        return max((int(state["step"]) for state in self._optimiser.state.values()), default=0)

    @override
    def begin_optimiser(self, steps: int, parameters: Sequence[nn.Parameter]) -> None:
        for parameter in parameters:
            self._optimiser.state[parameter] = {
                "step": torch.tensor(float(steps)),
                **{key: torch.zeros_like(parameter) for key in _MOMENTS},
            }

    @override
    def groups(self) -> list[tuple[dict[str, Any], list[nn.Parameter]]]:
        return [(group, group["params"]) for group in self._optimiser.param_groups]

    @property
    def _optimiser(self) -> Any:
        return self.optimizers[0]

    def _sharded(self, parameter: Any, value: Tensor) -> Tensor:
        value = value.to(self.root_device, parameter.dtype)
        return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _full(value: Tensor) -> Tensor:
    """Return a tensor whole; where it is in shards, all ranks ask for it."""
    return value.full_tensor() if isinstance(value, DTensor) else value
