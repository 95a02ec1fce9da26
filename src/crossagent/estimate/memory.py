"""Peak memory per device and per host, counted tensor by tensor. ``benchmarks/memory_plan.py`` holds it against what
processes really took.

Training's memory is the weights, their gradients, the optimiser's state, and what the forward pass keeps for the backward
pass. The last is what the operations of a Llama-like layer save for autograd; attention is computed without the matrix of
scores (``sdpa``, ``flash_attention_2``) or with it (``eager``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossagent.estimate.numbers import Numbers
from crossagent.estimate.shape import ModelShape
from crossagent.estimate.sharding import Sharding

GIB = 2**30
_BUCKET = 200_000_000
"""Numbers in a bucket of DeepSpeed's reductions and gathers, as Lightning sets it."""
_LIVE = 1_000_000_000
"""Parameters that DeepSpeed's stage 3 keeps gathered at most (``stage3_max_live_parameters``)."""


@dataclass(frozen=True, slots=True)
class Update:
    """The largest micro-batch of a stage that trains."""

    rows: int
    """Rows in it."""
    tokens: int
    """Padded tokens per row."""
    targets: int
    """Trained positions in it: only there the output layer runs."""
    images: int = 0
    """Patches of all images in it."""
    entropy: bool = False
    """Whether the entropy of the output is taken, with gradients."""
    accumulates: bool = True
    """Whether an optimiser step has more than one micro-batch: gradients are then all there while the next is computed."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """The largest batch of the passes without gradients: old and reference log-probs."""

    rows: int
    tokens: int
    targets: int
    images: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the sampler holds at a time on one rank."""

    rows: int
    """Responses in the making."""
    context: int
    """Tokens of a prompt."""
    new: int
    """Longest response."""
    chunk: int = 65_536
    """Prompt tokens read at once; 0: all of them."""
    shared: int = 1
    """Rows that have their prompt's keys and values in common."""
    kept: int = 0
    """Bytes of keys and values that are kept between turns."""
    images: int = 0
    """Patches of the images read at once."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything about a stage that decides its memory."""

    shape: ModelShape
    sharding: Sharding = field(default_factory=Sharding)
    precision: str = "32-true"
    dtype: str = "float32"
    lora_rank: int = 0
    """0: all weights train."""
    new_rows: int = 0
    """Rows of new special tokens that train under LoRA."""
    checkpointing: bool = False
    eager: bool = False
    """Attention keeps the matrix of scores."""
    update: Update | None = None
    scoring: Scoring | None = None
    sampling: Sampling | None = None
    reference: bool = False
    """A frozen policy is kept for the KL."""
    foreach: bool = True
    """torch's AdamW handles all tensors at once, as it does on a GPU: temporaries as large as the trained weights."""
    worker_processes: int = 0
    """Of one rank."""
    worker_bytes: float = 0.0
    """Each of them."""

    @property
    def trained(self) -> int:
        """Numbers that train."""
        if self.lora_rank:
            return self.shape.adapters(self.lora_rank, self.new_rows)
        return self.shape.parameters

    @property
    def numbers(self) -> Numbers:
        """Bytes per number."""
        return Numbers.of(self.precision, self.dtype, self.sharding.engine)

    @property
    def parameters(self) -> int:
        """All numbers, adapters included."""
        return self.shape.parameters + (self.trained if self.lora_rank else 0)


Items = Mapping[str, float]
"""What → bytes."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Peak memory; all in bytes."""

    phases: Mapping[str, Items]
    """Phase (``rollout``, ``log-probs``, ``update``, ``optimiser step``) → what a device holds at its fullest moment."""
    host: Mapping[str, Items]
    """The same of the memory of one node."""

    @property
    def peak(self) -> float:
        """Of a device."""
        return max(sum(items.values()) for items in self.phases.values())

    @property
    def fullest(self) -> str:
        """The phase of :attr:`peak`."""
        return max(self.phases, key=lambda phase: sum(self.phases[phase].values()))

    @property
    def host_peak(self) -> float:
        """Of a node."""
        return max((sum(items.values()) for items in self.host.values()), default=0.0)


def plan(job: Job) -> MemoryPlan:
    """Return what a job needs."""
    resident = _resident(job)
    phases: dict[str, dict[str, float]] = {}
    if job.sampling is not None:
        phases["rollout"] = {**resident, **_sampling(job, job.sampling)}
    if job.scoring is not None:
        s = job.scoring
        batch = Update(s.rows, s.tokens, s.targets, s.images)
        phases["log-probs"] = {
            **resident,
            **_gathered(job),
            "activations": _forward_only(job, batch),
            "logits": 3.0 * 4 * s.targets * job.shape.vocab,
        }
    if job.update is not None:
        phases["update"] = {**resident, **_gathered(job), **_update(job, job.update)}
        phases["optimiser step"] = {**resident, **_step(job)}
    return MemoryPlan(phases or {"model": resident}, _host(job))


# -- what is always there ---------------------------------------------------------------------------------------------
def _resident(job: Job) -> dict[str, float]:
    n, s = job.numbers, job.sharding
    weights = job.parameters * n.weight / s.share(3)
    state = job.trained * n.optimizer / s.share(1)
    items = {"weights": 0.0 if s.offload_parameters else weights}
    if job.update is not None:
        items["optimiser"] = 0.0 if s.offload_optimizer else state
        if keeps_copy(job):
            items["whole policy"] = float(job.parameters * _stored(job))
    if job.reference:
        # Full training keeps a whole frozen copy on every rank, LoRA the adapters of before.
        items["reference"] = float((job.trained if job.lora_rank else job.shape.parameters) * n.weight)
    return items


def keeps_copy(job: Job) -> bool:
    """Return whether each rank keeps a whole policy beside its part of the one it trains, to sample from and to save: in
    shards, or rounded by DeepSpeed, it can do neither.
    """
    s = job.sharding
    if s.engine != "deepspeed":
        return s.engine == "fsdp2"
    return s.stage == 3 or job.dtype != "float32" or job.precision != "32-true"


def _stored(job: Job) -> int:
    return 4 if job.dtype == "float32" and not job.precision.endswith("16-true") else 2


def _gathered(job: Job) -> dict[str, float]:
    """What a sharded strategy has of the weights beside its own part while it computes."""
    s, shape, n = job.sharding, job.shape, job.numbers
    if s.stage < 3 or (s.ranks == 1 and not s.offload_parameters):
        return {}
    rows = shape.vocab * shape.width
    if s.engine == "deepspeed":
        live = min(job.parameters, max(_LIVE, rows))
        return {"gathered weights": float(live * n.weight)}
    return {"gathered weights": float(max(2 * shape.layer_parameters, rows) * n.weight)}


# -- training ---------------------------------------------------------------------------------------------------------
def _update(job: Job, u: Update) -> dict[str, float]:
    n, s = job.numbers, job.sharding
    gradients = job.trained * n.gradient / s.share(2)
    if s.offload_optimizer:
        gradients = 0.0
    kept, transient = activations(job, u)
    logits, head = _logits(job, u), _largest_gradient(job)
    if u.accumulates or s.ranks > 1:
        fixed = gradients
        during = max(kept + logits, kept + transient) + (head if u.accumulates and s.ranks == 1 else 0.0)
    else:  # gradients grow while what the forward pass kept goes away
        fixed = 0.0
        during = max(kept + logits, gradients + transient, kept + head + transient)
    items = {"gradients": fixed, "activations": kept, "logits and backward": during - kept}
    if u.accumulates is False and s.ranks == 1 and during == gradients + transient:
        items = {"gradients": gradients, "activations": transient, "logits and backward": 0.0}
    if n.cast:
        trained_linear = job.shape.parameters - job.shape.vocab * job.shape.width * (0 if job.shape.tied else 1)
        items["autocast copies"] = float(trained_linear * n.cast)
    if s.ranks > 1:
        items["communication"] = _buckets(job)
    return items


def _buckets(job: Job) -> float:
    s, n = job.sharding, job.numbers
    if s.engine == "deepspeed":
        return 2.0 * min(_BUCKET, job.trained) * n.gradient
    if s.engine == "fsdp2":
        return 2.0 * min(job.shape.layer_parameters, job.trained) * n.gradient
    return float(job.trained * n.gradient)  # DDP's buckets are copies of the gradients


def activations(job: Job, u: Update) -> tuple[float, float]:
    """Return (bytes that the forward pass keeps, bytes that the backward pass of one layer has beside)."""
    shape, tokens = job.shape, u.rows * u.tokens
    layer, inside = _layer(job, shape.width, shape.attention_width, shape.kv_width, shape.feed_forward, u.tokens)
    stream = job.numbers.residual * shape.width
    ends = (job.numbers.residual + job.numbers.upcast + 2 * job.numbers.normal) * shape.width
    vision = 0.0
    if shape.vision is not None and u.images:
        v = shape.vision
        block, _ = _layer(job, v.width, v.width, v.width, v.feed_forward, u.tokens)
        vision = u.images * (v.layers * (job.numbers.residual * v.width if job.checkpointing else block))
        vision += u.images * 3 * job.numbers.linear * v.width * (1 + v.deepstack)
    if job.checkpointing:
        return tokens * (shape.layers * stream + ends) + vision, tokens * (layer - stream + inside)
    return tokens * (shape.layers * layer + ends) + vision, tokens * inside


def _layer(job: Job, h: int, a: int, kv: int, f: int, context: int) -> tuple[float, float]:
    """Return bytes per token of (what a layer keeps, what its backward pass has beside)."""
    n, shape = job.numbers, job.shape
    normal = 0 if job.lora_rank else n.normal
    norms = 2 * h * (n.residual + n.upcast + normal + n.linear)  # the stream, it normalised, and that times the weight
    heads = n.linear * (2 * a + 2 * kv)  # q after rotation, output; k and v
    if shape.qk_norm:
        heads += (n.upcast + normal + n.linear) * (a + kv)
    if job.eager:
        heads += shape.heads * context * (4 if n.linear == 4 else 4 + n.linear)  # softmax in fp32, and its 16-bit copy
    feed_forward = n.linear * 4 * f  # gate, its SiLU, up, their product
    kept = norms + heads + feed_forward
    if job.lora_rank:  # every adapter keeps its input (shared with the layer's) and r numbers
        kept += 4 * job.lora_rank * 7
    return kept, n.linear * 2 * f + n.residual * 2 * h  # gradients of the product's two factors, and of the stream


def _logits(job: Job, u: Update) -> float:
    """Return the bytes at the output layer: logits, log-probs and their gradients in fp32; more with the entropy."""
    return (6.0 if u.entropy else 3.0) * 4 * u.targets * job.shape.vocab


def _largest_gradient(job: Job) -> float:
    """A gradient is computed whole before it is added to what there is."""
    if job.lora_rank:
        return 0.0
    return float(job.shape.vocab * job.shape.width * job.numbers.gradient)


def _step(job: Job) -> dict[str, float]:
    n, s = job.numbers, job.sharding
    if s.offload_optimizer:
        return {"gradients": 0.0}
    own = job.trained / s.share(1)
    largest = min(own, job.shape.vocab * job.shape.width)
    return {
        "gradients": job.trained * n.gradient / s.share(2),
        "temporaries": 4.0 * (own if job.foreach else 2 * largest),
    }


# -- without gradients ------------------------------------------------------------------------------------------------
def _forward_only(job: Job, u: Update) -> float:
    """Return the bytes of one layer's forward pass: nothing is kept from layer to layer."""
    n, shape, tokens = job.numbers, job.shape, u.rows * u.tokens
    stream = (2 * n.residual + n.upcast + n.normal) * shape.width
    inside = n.linear * max(3 * shape.feed_forward, 3 * shape.attention_width + 4 * shape.kv_width)
    vision = 0.0
    if shape.vision is not None and u.images:
        vision = u.images * (
            (2 * n.residual + n.upcast + n.normal) * shape.vision.width + 3 * n.linear * shape.vision.feed_forward
        )
    return max(tokens * (stream + inside), vision)


def _sampling(job: Job, s: Sampling) -> dict[str, float]:
    n, shape = job.numbers, job.shape
    cache = 2 * shape.layers * shape.kv_width * n.linear
    prompts = -(-s.rows // s.shared)
    read = min(prompts * s.context, max(s.chunk, s.context)) if s.chunk else prompts * s.context
    reading = _forward_only(job, Update(max(1, read // max(1, s.context)), s.context, 0, s.images))
    held = (prompts * s.context + s.rows * s.new) * cache
    # In our loop what was read is copied into the rows' buffers; transformers' grows by a copy, one layer at a time.
    copied = read * cache if s.chunk else held / shape.layers
    items = {
        "KV cache": float(held + s.kept),
        "reading prompts": reading + copied,
        "logits": 3.0 * 4 * s.rows * shape.vocab,
    }
    if job.lora_rank and job.dtype == "float32":  # adapters are merged into a second copy of their layers
        items["merged weights"] = 4.0 * sum(a * b * count for a, b, count in shape.linears)
    return items


# -- the host ---------------------------------------------------------------------------------------------------------
def _host(job: Job) -> dict[str, dict[str, float]]:
    n, s = job.numbers, job.sharding
    local = min(s.per_node, s.ranks)
    workers = {"workers": local * job.worker_processes * job.worker_bytes} if job.worker_processes else {}
    stored = 4 if job.dtype == "float32" else 2
    training: dict[str, float] = dict(workers)
    if s.offload_optimizer:
        training["offloaded optimiser"] = local * job.trained * n.optimizer / s.share(1)
        training["offloaded gradients"] = local * job.trained * n.gradient / s.share(2)
    if s.offload_parameters:
        training["offloaded weights"] = local * job.parameters * n.weight / s.share(3)
    # Every process reads the whole model before it is sharded.
    return {"loading": {"weights": float(local * job.shape.parameters * stored)}, "training": training}
