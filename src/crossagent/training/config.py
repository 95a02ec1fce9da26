"""What a recipe says about training. Loads no torch; every value that cannot work is refused here, with its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from crossagent.errors import RecipeError, lookup
from crossagent.import_path import ESTIMATOR, LOSS, check_name, find_function
from crossagent.rollout.config import NOT_OFFERED

BASELINES = ("none", "mean", "leave-one-out")
SCALES = ("none", "group", "batch", "whiten")
ESTIMATORS = ("group", "gigpo")
AGGREGATIONS = (
    "token-mean",
    "seq-mean-token-mean",
    "seq-mean-token-sum-norm",
    "seq-mean-token-sum",
    "seq-mean-turn-mean",
)
KL_ESTIMATES = ("k1", "k2", "k3")
LOSSES = ("clip", "reinforce")


class Sharding(NamedTuple):
    """What each process keeps of a training's state."""

    stage: int = 0
    """0: all of it. 1: its part of the optimiser's states; 2: of the gradients too; 3: of the weights too."""
    offload_optimizer: bool = False
    """The optimiser's states are in the machine's memory, not the device's."""
    offload_parameters: bool = False
    """The weights too."""


STRATEGIES: Mapping[str, Sharding] = {
    "auto": Sharding(),
    "ddp": Sharding(),
    "deepspeed_stage_1": Sharding(1),
    "deepspeed_stage_1_offload": Sharding(1, offload_optimizer=True),
    "deepspeed_stage_2": Sharding(2),
    "deepspeed_stage_2_offload": Sharding(2, offload_optimizer=True),
    "deepspeed_stage_3": Sharding(3),
    "deepspeed_stage_3_offload_optimizer": Sharding(3, offload_optimizer=True),
    "deepspeed_stage_3_offload": Sharding(3, offload_optimizer=True, offload_parameters=True),
    "fsdp2": Sharding(3),
}
"""``trainer.strategy``: one process, or DDP where there are several (``auto``); DDP; ZeRO by DeepSpeed; FSDP2."""


ACCELERATORS = ("cpu", "cuda", "mps", "auto")
MATMULS = ("auto", "highest", "high", "medium")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true", "64-true")


@dataclass
class TrainerConfig:
    """How Lightning runs a stage."""

    accelerator: str = "cpu"
    """``cpu``, ``cuda``, ``mps`` or ``auto``."""
    devices: int = 1
    """Processes per machine, each with a device (a CPU core, a GPU) and ``rollout.workers`` of its own. More than one:
    ``crossagent run`` starts them."""
    num_nodes: int = 1
    """Machines. More than one: a launcher starts the processes (docs/guides/launchers.md)."""
    strategy: str = "auto"
    """What each process keeps of the training's state: all of it (``auto``, ``ddp``), its part of the optimiser's states
    (``deepspeed_stage_1``), of the gradients too (``deepspeed_stage_2``), of the weights too (``deepspeed_stage_3``,
    ``fsdp2``). ``…_offload`` keeps its part of the optimiser's states, in stage 3 of the weights too, in the machine's memory
    (``deepspeed_stage_3_offload_optimizer``: not the weights). docs/guides/scaling.md."""
    precision: str = "32-true"
    """Of ``lightning.Trainer``, e.g. ``32-true``, ``bf16-mixed``."""
    threads: int = 1
    """Threads of the main process; 0 leaves torch's choice (and gives up bit-identical repetition)."""
    deterministic: bool = True
    """Only deterministic algorithms; an operation without one raises."""
    compile: bool = False
    """Compile the policy's layers (``torch.compile``) for the passes of training; sampling runs as it is. Needs a C++ compiler on
    a CPU, pays where a stage repeats them often."""
    liger: bool = False
    """Liger's kernels for rotary embedding, normalisation and gated layers, on GPUs. Needs ``crossagent[liger]``."""
    matmul: str = "auto"
    """Precision of float32 matrix products: ``highest``, ``high``, ``medium`` (torch.set_float32_matmul_precision), or ``auto``:
    on a CPU ``medium`` where that is another, faster library with the same precision, which is tried when a run begins; else
    ``highest``."""

    def __post_init__(self) -> None:
        lookup(self.accelerator, dict.fromkeys(ACCELERATORS, True), "trainer.accelerator:", RecipeError)
        lookup(self.precision, dict.fromkeys(PRECISIONS, True), "trainer.precision:", RecipeError)
        lookup(self.matmul, dict.fromkeys(MATMULS, True), "trainer.matmul:", RecipeError)
        lookup(self.strategy, STRATEGIES, "trainer.strategy:", RecipeError)
        unable = {"deepspeed": ("64-true",), "fsdp2": ("16-mixed", "64-true")}.get(self.strategy.partition("_")[0], ())
        if self.precision in unable:
            raise RecipeError(
                f"precision: got {self.precision!r}; {self.strategy!r} cannot, expected bf16-mixed or 32-true"
            )
        if self.liger and self.accelerator in ("cpu", "mps"):
            raise RecipeError(f"liger: its kernels run on GPUs; expected accelerator: cuda, got {self.accelerator!r}")
        for name in ("devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}: got {getattr(self, name)}; expected at least 1")

    @property
    def processes(self) -> int:
        """Processes in all."""
        return self.devices * self.num_nodes


@dataclass
class SFTConfig:
    """Supervised training on demonstrations."""

    epochs: float = 1.0
    """Passes over the data; may be a fraction."""
    lr: float = 2e-3
    """Highest learning rate of AdamW, after warm-up."""
    min_lr_ratio: float = 0.1
    """The cosine ends at this share of ``lr``."""
    warmup: float = 0.03
    """Share of all steps in which the learning rate rises from 0."""
    weight_decay: float = 0.05
    """On matrices only."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    """Of AdamW."""
    batch_size: int = 128
    """Rows (turns, or whole episodes with ``concatenate``) per optimiser step."""
    micro_batches: int = 1
    """Parts a batch is computed in, sorted by length; changes memory and speed, never the gradient."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it."""
    concatenate: bool = False
    """One row per episode where the prompts extend each other (``prompt.history: -1``), else one per turn."""
    segment_weights: dict[str, float] = field(default_factory=dict)
    """Name of a part of an action, as its space tells them apart → what the loss of its tokens is multiplied with, else 1;
    0: they do not train."""
    checkpoint_every: int = 200
    """Optimiser steps between checkpoints an interrupted stage resumes from; 0: none."""

    def __post_init__(self) -> None:
        _positive("epochs", self.epochs)
        _optimiser(self.lr, self.max_grad_norm, self.betas)
        _between("min_lr_ratio", self.min_lr_ratio, 0.0, 1.0)
        _between("warmup", self.warmup, 0.0, 1.0)
        _not_negative("weight_decay", self.weight_decay)
        _at_least("batch_size", self.batch_size, 1)
        _at_least("micro_batches", self.micro_batches, 1)
        if self.micro_batches > self.batch_size:
            raise RecipeError(
                f"micro_batches: got {self.micro_batches}; expected at most batch_size ({self.batch_size}): no part is empty"
            )
        _at_least("checkpoint_every", self.checkpoint_every, 0)
        _segment_weights(self.segment_weights)


@dataclass
class GRPOConfig:
    """Reinforcement on groups: STRL and MTRL. One iteration = one rollout, then ``minibatches × epochs`` optimiser steps."""

    iterations: int = 40
    """How many; an iteration is one rollout and its optimiser steps."""
    groups: int = 16
    """Groups per iteration."""
    group_size: int = 8
    """Members of a group: trajectories of one task from one initial state."""
    lr: float = 2e-4
    """Of AdamW; constant after warm-up."""
    warmup_steps: int = 0
    """Optimiser steps in which the learning rate rises from 0."""
    weight_decay: float = 0.0
    """On matrices only."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    """Of AdamW."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it."""
    minibatches: int = 2
    """M: optimiser steps per pass over an iteration's trajectories, however many turns they have."""
    epochs: int = 1
    """E: passes over an iteration's trajectories."""
    micro_batch_tokens: int = 4096
    """Padded tokens computed at once in the update; changes memory and speed, never the gradient."""
    logprob_batch_tokens: int = 8192
    """Padded tokens computed at once where old and reference log-probs are taken."""
    temperature: float = 1.0
    """Of sampling; divides the logits of the old, new and reference passes too."""
    max_new_tokens: int = 0
    """Longest response; 0: as in ``rollout``."""
    concatenate: bool = False
    """One row per stretch of turns whose prompts extend each other exactly, else one row per turn; same gradient."""

    # -- advantages
    estimator: str = "group"
    """``group``: one advantage per trajectory. ``gigpo`` adds a part per turn, from turns of the group in the same state.
    Or ``module:function`` with the signature of ``trajectory_advantages``."""
    baseline: str = "mean"
    """``none``, ``mean``, ``leave-one-out`` (RLOO): over the trajectories of a group."""
    scale: str = "none"
    """``none`` (Dr. GRPO), ``group`` (GRPO: ÷ std of the group, erases the size of λ), ``batch`` (÷ std of all returns that
    train), ``whiten`` (all centred returns: with baseline ``mean``, REINFORCE++-baseline)."""
    gigpo_gamma: float = 0.95
    """Discount per turn in GiGPO's part per turn."""
    gigpo_weight: float = 1.0
    """ω: weight of GiGPO's part per turn."""
    invalid_penalty: float = 0.1
    """Taken off the return for each response that is no action."""
    overlong_buffer: int = 0
    """Length cache of the soft overlong punishment (DAPO): the last so many tokens before the longest response cost
    linearly more, up to ``overlong_weight`` off the return per response; 0: none."""
    overlong_weight: float = 1.0
    """The most that the soft overlong punishment takes off."""
    overlong_filter: bool = False
    """Trajectories that end in a response cut at the token limit count in the baseline, but their tokens do not train."""
    filter_zero_variance: bool = True
    """Leave out groups whose returns are all equal, before any normalisation."""
    drop_all_fail: bool = True
    """Leave out groups in which nobody succeeds: there only costs differ, and inaction would win."""
    resample_rounds: int = 0
    """How often groups that were left out are replaced by new ones within an iteration; then it goes on with what it has."""
    explore_members: int = 0
    """Members of each group that take one turn in a space drawn uniformly, so that no space starves; their gradient is
    weighted by what the policy thinks of that space (importance sampling)."""
    explore_turns: int = 4
    """That turn is one of the first so many."""
    single_space_share: float = 0.0
    """MTRL: share of the groups that may use one space alone, each in turn, with the prompt of a single space, as evaluating
    it does: the policy keeps what it can do there. They are no part of ``rollout/*``, ``space/*`` and the curriculum."""
    curriculum: str = "uniform"
    """Which tasks: ``uniform`` (each equally often) or ``uncertain`` (by p(1 − p) of recent success)."""
    curriculum_floor: float = 0.05
    """Smallest weight of a task under ``uncertain``; the largest is 0.25."""
    curriculum_decay: float = 0.9
    """Weight of the past in a task's recent success, per group played."""

    # -- loss
    segment_weights: dict[str, float] = field(default_factory=dict)
    """Name of a part of a response, as its space tells them apart → what the loss of its tokens is multiplied with, else
    1; 0: they do not train."""
    loss: str = "clip"
    """``clip``, ``reinforce`` (no clipping), or ``module:function`` with the signature of ``clipped_loss``."""
    ratio: str = "token"
    """``token``, or ``sequence`` (GSPO): over each turn."""
    clip_low: float = 0.2
    """Ratios are kept above 1 − this, where the advantage is negative."""
    clip_high: float = 0.28
    """Ratios are kept below 1 + this, where the advantage is positive."""
    dual_clip: float | None = None
    """Bound on the loss of bad tokens whose ratio exploded, in units of their advantage; > 1."""
    aggregation: str = "seq-mean-turn-mean"
    """How token losses become one number; a sequence is a trajectory. ``seq-mean-turn-mean`` weighs each turn
    1/number of turns of its trajectory."""
    max_length: int = 512
    """The constant of ``seq-mean-token-sum-norm``."""
    kl_coef: float = 0.0
    """β of the KL to the reference; 0: no reference is kept."""
    reference: str = "start"
    """``start``: the policy the stage begins with; or the name of an earlier stage, whose policy is loaded beside."""
    kl: str = "k3"
    """``k1``, ``k2``, ``k3``."""
    kl_in: str = "loss"
    """``loss``, or ``reward`` (taken off the return, token by token)."""
    kl_correction: bool = False
    """Multiply the KL in the loss by the ratio: the gradient is then that of the reverse KL, also of k1 and k3 (DeepSeek-V3.2,
    arXiv 2512.02556)."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    old_logprobs: str = "recompute"
    """``recompute`` in the training engine (ratio 1 on the first pass, which is a check); ``reuse``: as that, but what the first
    optimiser step trains has those of the step's own pass, equal by construction (with one minibatch: one pass less, and the
    ratio no check; several processes recompute); ``sampler``: those of sampling, one pass less."""
    importance: str = "none"
    """Correction for sampler ≠ trainer: ``none``, ``truncate``, ``mask``."""
    importance_level: str = "token"
    """``token`` or ``sequence`` (each turn)."""
    importance_cap: float = 2.0
    """Largest weight of the correction; with ``mask`` also 1/this is the smallest."""

    # -- keeping
    evaluate_every: int = 0
    """Iterations between evaluations of the hook ``StageRun.evaluate``; 0: never."""
    keep: str = "last"
    """Which policy the stage ends with: ``last``, or ``best`` of those evaluated."""
    checkpoint_every: int = 1
    """Iterations between checkpoints an interrupted stage resumes from; 0: none."""

    NOT_OFFERED: ClassVar[Mapping[str, str]] = NOT_OFFERED

    def __post_init__(self) -> None:
        _at_least("iterations", self.iterations, 1)
        _at_least("groups", self.groups, 1)
        if self.group_size < 2:
            raise RecipeError(
                f"group_size: got {self.group_size}; expected at least 2: a group of one has no baseline, its advantage is 0"
            )
        _optimiser(self.lr, self.max_grad_norm, self.betas)
        _not_negative("weight_decay", self.weight_decay)
        for name in ("minibatches", "epochs", "micro_batch_tokens", "logprob_batch_tokens", "max_length"):
            _at_least(name, getattr(self, name), 1)
        for name in ("warmup_steps", "max_new_tokens", "resample_rounds", "evaluate_every", "checkpoint_every"):
            _at_least(name, getattr(self, name), 0)
        if self.minibatches > self.groups * self.group_size:
            raise RecipeError(
                f"minibatches: got {self.minibatches}; expected at most groups × group_size "
                f"({self.groups * self.group_size} trajectories): no step without data"
            )
        if not self.temperature > 0:
            raise RecipeError(f"temperature: got {self.temperature}; expected > 0: greedy members would all be equal")
        check_name("estimator", self.estimator, ESTIMATORS)
        _one_of("baseline", self.baseline, BASELINES)
        _one_of("scale", self.scale, SCALES)
        _between("gigpo_gamma", self.gigpo_gamma, 0.0, 1.0)
        _not_negative("gigpo_weight", self.gigpo_weight)
        _not_negative("invalid_penalty", self.invalid_penalty)
        _at_least("overlong_buffer", self.overlong_buffer, 0)
        _not_negative("overlong_weight", self.overlong_weight)
        self.check_overlong(self.max_new_tokens)
        _at_least("explore_members", self.explore_members, 0)
        _at_least("explore_turns", self.explore_turns, 1)
        if self.explore_members >= self.group_size:
            raise RecipeError(
                f"explore_members: got {self.explore_members}; expected fewer than group_size ({self.group_size}): "
                "somebody has to play as the policy does"
            )
        _between("single_space_share", self.single_space_share, 0.0, 1.0)
        _segment_weights(self.segment_weights)
        _one_of("curriculum", self.curriculum, ("uniform", "uncertain"))
        _between("curriculum_floor", self.curriculum_floor, 0.0, 0.25)
        _between("curriculum_decay", self.curriculum_decay, 0.0, 1.0)
        check_name("loss", self.loss, LOSSES)
        _one_of("ratio", self.ratio, ("token", "sequence"))
        if not 0 < self.clip_low < 1:
            raise RecipeError(
                f"clip_low: got {self.clip_low}; expected 0 < clip_low < 1: ratios are kept above 1 − clip_low"
            )
        if not self.clip_high > 0:
            raise RecipeError(f"clip_high: got {self.clip_high}; expected > 0: ratios are kept below 1 + clip_high")
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise RecipeError(f"dual_clip: got {self.dual_clip}; expected > 1, or null for none")
        _one_of("aggregation", self.aggregation, AGGREGATIONS)
        _not_negative("kl_coef", self.kl_coef)
        _one_of("kl", self.kl, KL_ESTIMATES)
        _one_of("kl_in", self.kl_in, ("loss", "reward"))
        if self.kl_coef > 0 and self.kl == "k1" and self.kl_in == "loss" and not self.kl_correction:
            raise RecipeError("kl: k1 in the loss has an expected gradient of 0; expected k2 or k3, or kl_in: reward")
        if self.kl_correction and (self.kl == "k2" or self.kl_in == "reward"):
            raise RecipeError(
                "kl_correction: expected k1 or k3 in the loss; k2 has the right gradient, a reward has none"
            )
        if self.kl_coef > 0 and self.kl_in == "reward" and self.overlong_filter:
            raise RecipeError(
                "kl_in: reward with overlong_filter: what was cut at the token limit has no KL, and would stand in the baseline "
                "without; expected kl_in: loss"
            )
        if self.reference != "start" and not self.kl_coef:
            raise RecipeError(
                f"reference: got {self.reference!r} with kl_coef 0; expected kl_coef > 0: nothing else uses it"
            )
        _not_negative("entropy_coef", self.entropy_coef)
        _one_of("old_logprobs", self.old_logprobs, ("recompute", "reuse", "sampler"))
        _one_of("importance", self.importance, ("none", "truncate", "mask"))
        _one_of("importance_level", self.importance_level, ("token", "sequence"))
        if not self.importance_cap >= 1:
            raise RecipeError(f"importance_cap: got {self.importance_cap}; expected ≥ 1")
        if self.importance != "none" and self.old_logprobs == "sampler":
            raise RecipeError(
                "importance: with old_logprobs: sampler there is nothing to correct; set one of the two back"
            )
        if self.explore_members and self.old_logprobs != "recompute":
            raise RecipeError(
                "explore_members: needs old_logprobs: recompute, to know what the policy thinks of a space"
            )
        if self.kl_in == "reward" and self.old_logprobs == "reuse":
            raise RecipeError(
                "kl_in: reward needs the old log-probs before the update; expected old_logprobs: recompute"
            )
        _one_of("keep", self.keep, ("last", "best"))
        if self.keep == "best" and not self.evaluate_every:
            raise RecipeError("keep: best needs evaluate_every > 0: only evaluated policies can be the best")

    def check_overlong(self, limit: int) -> None:
        """Refuse an ``overlong_buffer`` longer than the longest response; ``limit`` 0 is not known yet."""
        if limit and self.overlong_buffer > limit:
            raise RecipeError(
                f"overlong_buffer: got {self.overlong_buffer}; expected at most {limit}, the longest response "
                "(max_new_tokens): all of it would be punished"
            )

    def overlong(self, limit: int) -> tuple[int, int, float] | None:
        """Return (limit, buffer, weight) of the soft overlong punishment; None: there is none."""
        return (limit, self.overlong_buffer, self.overlong_weight) if self.overlong_buffer else None

    def check_functions(self) -> None:
        """Find the functions that are named ``module:function``. Imports the modules they are in, and nothing else.

        Raises:
            RecipeError: One cannot be found, or takes other arguments.
        """
        for name, known, signature in ((self.estimator, ESTIMATORS, ESTIMATOR), (self.loss, LOSSES, LOSS)):
            if name not in known:
                find_function(name, {}, signature)

    def warnings(self, weights: Mapping[str, float]) -> list[str]:
        """Return what works, but hardly as meant. ``weights`` is λ per space."""
        if self.scale == "none" or not any(weights.values()):
            return []
        what = "each group's returns are divided by their own std" if self.scale == "group" else "returns are rescaled"
        return [f"scale: {self.scale} with λ > 0: {what}, so λ no longer says what a cost is worth; expected none"]


@dataclass
class StrlConfig(GRPOConfig):
    """Single-turn reinforcement: each group is one state of a demonstration."""

    iterations: int = 20
    """How many; an iteration is one rollout and its optimiser steps."""
    groups: int = 64
    """Groups per iteration."""
    lr: float = 5e-5
    """Of AdamW; constant after warm-up."""
    horizon: int = 1
    """H: how many raw ticks of two actions are compared."""
    partial_credit: float = 0.0
    """Reward of a valid action that comes to other ticks than the demonstrated one, times the share of keys, buttons and
    mouse movements on which the two agree; 0: right or wrong. Success stays equality."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("horizon", self.horizon, 1)
        if not 0.0 <= self.partial_credit < 1.0:
            raise RecipeError(
                f"partial_credit: got {self.partial_credit}; expected 0 ≤ partial_credit < 1, what is right"
            )
        if self.partial_credit and self.drop_all_fail:
            raise RecipeError(
                "partial_credit: needs drop_all_fail: false; else groups in which nobody is right, where it would tell "
                "members apart, are left out"
            )
        if self.single_space_share:
            raise RecipeError("single_space_share: STRL compares spaces with each other; expected 0")
        if self.estimator == "gigpo":
            raise RecipeError("estimator: a single turn has no steps to give credit to; expected group")


@dataclass
class RelabelConfig:
    """Rejection sampling after STRL: a demonstrated action becomes the policy's own where both come to the same."""

    states: int = 2000
    """Demonstrated turns to relabel, spread evenly over the spaces they are written in."""
    samples: int = 8
    """Responses sampled per state."""
    temperature: float = 1.0
    """Of sampling; > 0."""
    max_new_tokens: int = 0
    """Longest response; 0: as in ``rollout``."""
    horizon: int = 1
    """H: how many raw ticks of two actions are compared."""
    balance: float = 2.0
    """The most frequent space of the result has at most this many times the rows of the rarest; 0: as they come."""
    sft: SFTConfig = field(default_factory=lambda: SFTConfig(epochs=1.0, lr=2e-4))
    """The short supervised training on the result."""

    NOT_OFFERED: ClassVar[Mapping[str, str]] = NOT_OFFERED

    def __post_init__(self) -> None:
        _at_least("states", self.states, 1)
        _at_least("samples", self.samples, 1)
        _at_least("horizon", self.horizon, 1)
        _at_least("max_new_tokens", self.max_new_tokens, 0)
        if not self.temperature > 0:
            raise RecipeError(f"temperature: got {self.temperature}; expected > 0")
        if self.balance != 0 and not self.balance >= 1:
            raise RecipeError(f"balance: got {self.balance}; expected ≥ 1, or 0 for no balancing")


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    lookup(value, dict.fromkeys(known, True), f"{key} value", RecipeError)


def _positive(key: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise RecipeError(f"{key}: got {value}; expected a number > 0")


def _not_negative(key: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise RecipeError(f"{key}: got {value}; expected a number ≥ 0")


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise RecipeError(f"{key}: got {value}; expected at least {least}")


def _between(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RecipeError(f"{key}: got {value}; expected {low:g} to {high:g}")


def _segment_weights(weights: dict[str, float]) -> None:
    for name, weight in weights.items():
        _not_negative(f"segment_weights.{name}", weight)


def _optimiser(lr: float, max_grad_norm: float, betas: list[float]) -> None:
    _positive("lr", lr)
    _positive("max_grad_norm", max_grad_norm)
    if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
        raise RecipeError(f"betas: got {betas}; expected two numbers, each 0 ≤ β < 1")
