"""How long a step takes: operations counted, divided by what a device can do and by how much of it is reached.

A forward pass is 2 operations per weight and token, and 4·width per token and token attended to; the backward pass is
twice that, or once where the weights are frozen under adapters; checkpointing adds a forward pass. Decoding reads all
weights and the KV cache once per token and is bound by that, or by its operations, whichever takes longer. Collectives
move (N−1)/N of their bytes over the slowest link, and pay a latency per hop; none is taken to hide behind computation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from crossagent.estimate.hardware import Hardware
from crossagent.estimate.numbers import Numbers
from crossagent.estimate.shape import ModelShape
from crossagent.estimate.sharding import Sharding


@dataclass(frozen=True, slots=True)
class Rates:
    """What is reached of a device's peak; measured, or assumed."""

    sampling: float = 0.4
    """Of peak operations or bandwidth in prefill and decode."""
    scoring: float = 0.4
    """Of peak operations in old and reference log-probs."""
    training: float = 0.4
    """Of peak operations in the update. 0.38–0.43 is what Llama 3 reached in bf16 on H100s (arXiv 2407.21783, table 4)."""
    network: float = 0.7
    """Of the links' bandwidth."""
    latency_s: float = 5e-6
    """Of one hop of a collective."""
    environment_s: float = 0.0
    """Seconds that a world takes for one turn, on its worker; 0: not known, so left out."""
    straggle: float = 0.0
    """Standard deviation of a rank's rollout time, relative to its mean; the slowest of N ranks takes 1 + this·√(2 ln N)."""
    source: str = "assumed"
    """``assumed``, or the run it was measured on."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one iteration of a stage that reinforces does, on all devices together."""

    trajectories: int
    turns: float
    """Per trajectory, mean."""
    prompt: float
    """Tokens, mean."""
    response: float
    """Tokens, mean."""
    steps: int = 1
    """Optimiser steps."""
    epochs: int = 1
    trained: float = 1.0
    """Share of the turns that train: groups that teach nothing are left out."""
    old: bool = True
    """Old log-probs are taken in the training engine."""
    reference: bool = False
    micro_tokens: int = 4096
    scoring_tokens: int = 8192
    """Tokens at once where log-probs are taken."""
    workers: int = 1
    """Processes with worlds, of one rank."""
    worlds: int = 64
    """Worlds at a time, of one rank."""
    batch: int = 256
    """Responses in the making at a time, at most."""
    overlap: bool = True
    """One half of the worlds acts while the other is sampled (``rollout.schedule: halves``)."""
    patches: float = 0.0
    """Of images in a prompt, mean."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Who does the work, and on what."""

    shape: ModelShape
    hardware: Hardware
    sharding: Sharding = field(default_factory=Sharding)
    precision: str = "32-true"
    dtype: str = "float32"
    lora_rank: int = 0
    checkpointing: bool = False
    threads: int = 1
    """On a CPU: cores of one process."""

    @property
    def numbers(self) -> Numbers:
        """Bytes per number."""
        return Numbers.of(self.precision, self.dtype, self.sharding.engine)

    @property
    def trained(self) -> int:
        """Numbers that train."""
        return self.shape.adapters(self.lora_rank) if self.lora_rank else self.shape.parameters

    @property
    def peak(self) -> float:
        """Operations per second of one device, at the precision of linear layers."""
        half = self.numbers.linear == 2
        return self.hardware.flops(half) * (self.threads if self.hardware.kind == "cpu" else 1)


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one iteration."""

    parts: Mapping[str, float]
    """``prefill``, ``decode``, ``environment`` (what sampling does not hide), ``log-probs``, ``update``, ``optimiser``,
    ``communication``."""
    devices: int = 1

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(self.parts.values())

    @property
    def rollout(self) -> float:
        """Of playing."""
        return sum(self.parts.get(name, 0.0) for name in ("prefill", "decode", "environment", "stragglers"))

    @property
    def training(self) -> float:
        """The rest."""
        return self.seconds - self.rollout

    @property
    def bottleneck(self) -> str:
        """The part that takes longest; the first of equals."""
        return max(self.parts, key=lambda name: self.parts[name])


def forward_flops(shape: ModelShape, tokens: float, context: float, targets: float, patches: float = 0.0) -> float:
    """Return the operations of one forward pass.

    Args:
        shape: The model.
        tokens: Tokens that go through it.
        context: Tokens that each attends to, on average (half the length where attention is causal).
        targets: Positions at which the output layer runs.
        patches: Image patches that go through the vision tower.
    """
    linear = sum(a * b * count for a, b, count in shape.linears)
    attention = 2 * shape.attention_width * shape.layers * context
    flops = 2.0 * tokens * (linear + attention) + 2.0 * targets * shape.width * shape.vocab
    if shape.vision is not None and patches:
        flops += 2.0 * patches * sum(a * b * count for a, b, count in shape.vision.linears)
    return flops


def iteration(setting: Setting, work: Work, rates: Rates) -> StepTime:
    """Return how long one iteration takes."""
    own = -(-work.trajectories // setting.sharding.ranks)  # a rank without a trajectory waits for the others
    parts = _rollout(setting, work, rates, own)
    turns = own * work.turns * work.trained
    passes = int(work.old) + int(work.reference)
    forward = forward_flops(
        setting.shape,
        turns * (work.prompt + work.response),
        (work.prompt + work.response) / 2,
        turns * work.response,
        turns * work.patches,
    )
    backward = (1 if setting.lora_rank else 2) + (1 if setting.checkpointing else 0)
    parts["log-probs"] = passes * forward / (setting.peak * rates.scoring)
    parts["update"] = work.epochs * (1 + backward) * forward / (setting.peak * rates.training)
    parts |= _steps(setting, rates, work.steps)
    length = turns * (work.prompt + work.response)
    micro = max(work.steps, math.ceil(work.epochs * length / max(work.micro_tokens, 1)))
    scored = math.ceil(passes * length / max(work.scoring_tokens, 1))
    parts["communication"] = _communication(setting, rates, work.steps, micro, scored, samples=True)
    return StepTime(parts, setting.sharding.ranks)


def supervised_step(setting: Setting, rows: int, tokens: float, targets: float, micro: int, rates: Rates) -> StepTime:
    """Return how long one optimiser step of SFT takes.

    Args:
        setting: Who does it.
        rows: Of the whole step.
        tokens: Per row, mean.
        targets: Trained ones per row, mean.
        micro: Micro-batches of a rank.
        rates: What is reached.
    """
    own = -(-rows // setting.sharding.ranks)
    forward = forward_flops(setting.shape, own * tokens, tokens / 2, own * targets)
    backward = (1 if setting.lora_rank else 2) + (1 if setting.checkpointing else 0)
    parts = {"update": (1 + backward) * forward / (setting.peak * rates.training)}
    parts |= _steps(setting, rates, 1)
    parts["communication"] = _communication(setting, rates, 1, micro, 0, samples=False)
    return StepTime(parts, setting.sharding.ranks)


def _rollout(setting: Setting, work: Work, rates: Rates, own: int) -> dict[str, float]:
    shape, hardware, n = setting.shape, setting.hardware, setting.numbers
    turns = own * work.turns
    live = max(1, min(own, work.worlds))
    rows = max(1.0, min(float(work.batch), live / 2 if work.overlap else live))
    batches = turns / rows
    prefill = forward_flops(shape, turns * work.prompt, work.prompt / 2, turns, turns * work.patches)
    # Weights are read once per token of a batch, keys and values once per row and token.
    context = work.prompt + work.response / 2
    cache = 2 * shape.layers * shape.kv_width * n.linear
    read = (shape.decoder_parameters * n.weight + rows * context * cache) / hardware.bandwidth
    computed = forward_flops(shape, rows, context, rows) / setting.peak
    decode = batches * work.response * max(read, computed)
    sampling = (prefill / setting.peak + decode) / rates.sampling
    acting = turns * rates.environment_s / max(1, min(work.workers, live))
    waiting = max(0.0, acting - sampling) if work.overlap and live > 1 else acting
    slowest = rates.straggle * math.sqrt(2 * math.log(setting.sharding.ranks)) if setting.sharding.ranks > 1 else 0.0
    parts = {
        "prefill": prefill / setting.peak / rates.sampling,
        "decode": decode / rates.sampling,
        "environment": waiting,
    }
    if slowest:
        parts["stragglers"] = slowest * sum(parts.values())
    return parts


def _steps(setting: Setting, rates: Rates, steps: int) -> dict[str, float]:
    """Adam reads and writes weights, gradients and moments: bound by memory; offloaded, also by the host's link."""
    s, n = setting.sharding, setting.numbers
    own = setting.trained / s.share(1)
    moved = own * (2 * n.weight + n.gradient + 2 * n.optimizer)
    seconds = moved / setting.hardware.bandwidth
    if s.offload_optimizer:  # gradients go down, weights come up
        seconds += own * (n.gradient + n.weight) / min(setting.hardware.interconnect, _PCIE)
    return {"optimiser": steps * seconds / rates.training}


_PCIE = 32e9
"""PCIe 4.0 ×16, bytes per second and direction: how weights and gradients reach the host."""


def _communication(setting: Setting, rates: Rates, steps: int, micro: int, scored: int, *, samples: bool) -> float:
    s, n = setting.sharding, setting.numbers
    if s.ranks == 1 and not s.offload_parameters:
        return 0.0
    weights = setting.shape.parameters * n.weight
    gradients = setting.trained * n.gradient
    gathers = 0.0
    if s.stage >= 3:  # forward and backward of every micro-batch, every scored batch, and once for the sampler
        gathers = (2 * micro + scored + (1 if samples else 0)) * _moved(setting, rates, weights, setting.shape.layers)
    reduced = (micro if s.stage >= 2 else steps) * _moved(setting, rates, gradients, _collectives(setting))
    back = 0.0 if s.stage >= 3 else steps * _moved(setting, rates, gradients, _collectives(setting))
    return gathers + reduced + back


def _collectives(setting: Setting) -> int:
    return max(1, setting.shape.layers if setting.sharding.stage >= 3 else 1)


def _moved(setting: Setting, rates: Rates, size: float, collectives: int) -> float:
    """Return the seconds of an all-gather or reduce-scatter of ``size`` bytes, in so many calls: rings."""
    s, h = setting.sharding, setting.hardware
    if s.ranks == 1:  # parameters come from the host
        return size / (min(h.interconnect, _PCIE) * rates.network)
    link = h.interconnect if s.ranks <= s.per_node else min(h.network, h.interconnect)
    if s.offload_parameters:
        link = min(link, _PCIE)
    return (s.ranks - 1) / s.ranks * size / (link * rates.network) + collectives * rates.latency_s * (s.ranks - 1)


# -- many devices -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ScalingRow:
    """One iteration on N devices; **modelled**, never measured."""

    devices: int
    trajectories: int
    time: StepTime
    speedup: float
    """Trajectories per second, relative to the first row of the table."""
    efficiency: float
    """``speedup`` relative to what the devices would allow."""

    def as_dict(self) -> dict[str, float | int | str | bool | Mapping[str, float]]:
        """Return it for JSON; it says of itself that it is modelled."""
        return {
            "modelled": True,
            "devices": self.devices,
            "trajectories": self.trajectories,
            "seconds": self.time.seconds,
            "rollout_s": self.time.rollout,
            "training_s": self.time.training,
            "parts": dict(self.time.parts),
            "bottleneck": self.time.bottleneck,
            "speedup": self.speedup,
            "efficiency": self.efficiency,
        }


DEVICES = (8, 16, 32, 64, 128, 256, 512, 1024)


def modelled_scaling(
    setting: Setting, work: Work, rates: Rates, devices: Sequence[int] = DEVICES, *, weak: bool = True
) -> list[ScalingRow]:
    """Return one iteration on more and more devices.

    Args:
        setting: Model, device, strategy; ``sharding.per_node`` devices share a node.
        work: Of one iteration on ``devices[0]`` devices (weak), or on any number (strong).
        rates: Measured, or assumed; what the result is worth depends on it.
        devices: Numbers of devices, ascending.
        weak: Trajectories grow with the devices, so that each has the same to do; else all share the same work.
    """
    rows: list[ScalingRow] = []
    for count in devices:
        sharding = replace(setting.sharding, ranks=count, per_node=min(setting.sharding.per_node, count))
        if sharding.ranks > 1 and not sharding.engine:
            sharding = replace(sharding, engine="ddp")
        trajectories = work.trajectories * count // devices[0] if weak else work.trajectories
        time = iteration(replace(setting, sharding=sharding), replace(work, trajectories=trajectories), rates)
        per_second = trajectories / time.seconds
        first = rows[0].trajectories / rows[0].time.seconds if rows else per_second
        speedup = per_second / first
        rows.append(ScalingRow(count, trajectories, time, speedup, speedup * devices[0] / count))
    return rows


def calibrated(setting: Setting, work: Work, measured: Iterable[Mapping[str, float]], source: str) -> Rates:
    """Return the rates at which the model agrees with measured iterations.

    Args:
        setting: Of the run that was measured.
        work: What its iterations did, on average.
        measured: Rows of its ``metrics.jsonl``; the first is left out where there are more (it warms up).
        source: Names the run.
    """
    rows = list(measured)
    rows = rows[1:] if len(rows) > 1 else rows
    peak = Rates(1.0, 1.0, 1.0, environment_s=0.0)
    model = iteration(setting, work, peak).parts

    def mean(name: str) -> float:
        return sum(row.get(name, 0.0) for row in rows) / max(1, len(rows))

    own = -(-work.trajectories // setting.sharding.ranks)
    turns = max(1.0, own * work.turns)
    live = max(1, min(own, work.worlds))
    waited, sampled = mean("time/environment"), mean("time/generate")
    # Under halves only what sampling does not hide is seen; what is hidden is bounded by it, so this is a lower bound.
    acting = waited if not work.overlap or waited == 0 else waited + sampled
    return Rates(
        sampling=(model["prefill"] + model["decode"]) / max(sampled, 1e-9),
        scoring=model["log-probs"] / max(mean("time/logprobs"), 1e-9) if model["log-probs"] else peak.scoring,
        training=(model["update"] + model["optimiser"]) / max(mean("time/update"), 1e-9),
        environment_s=acting * max(1, min(work.workers, live)) / turns,
        source=source,
    )
