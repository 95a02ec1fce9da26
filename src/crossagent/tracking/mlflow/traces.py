"""A stored trajectory as an MLflow trace: agent → turn → generate, execute. Pure; knows MLflow's span format only.

Trajectories are played in lock-step and do not store when a turn happened, so a span's length is no wall time: the axis is the
environment's (50 ms a tick) with one millisecond per sampled token; the attribute ``time_axis`` says so in every trace.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from crossagent.types import Trajectory, Turn

TICK_NS, TOKEN_NS = 50_000_000, 1_000_000
TIME_AXIS = "environment time: 50 ms a tick, plus 1 ms per sampled token; not wall time"


def trace_id(*place: object) -> str:
    """Return the id of a trace by where its trajectory is stored: sent twice, it is one trace all the same."""
    return "tr-" + hashlib.sha256(repr(place).encode()).hexdigest()[:32]


def spans(trajectory: Trajectory, identity: str, start_ns: int) -> list[dict[str, Any]]:
    """Return a trajectory's spans as :meth:`mlflow.entities.Span.from_dict` takes them; the first is the root.

    Args:
        trajectory: What was played.
        identity: From :func:`trace_id`.
        start_ns: When the trace begins.
    """
    made: list[dict[str, Any]] = []

    def add(name: str, kind: str, parent: str | None, begin: int, end: int, error: str, **attributes: Any) -> str:
        own = _base64(hashlib.sha256(f"{identity}/{len(made)}".encode()).digest()[:8])
        values = {"mlflow.traceRequestId": identity, "mlflow.spanType": kind, **attributes}
        made.append(
            {
                "trace_id": _base64(bytes.fromhex(identity.removeprefix("tr-"))),
                "span_id": own,
                "parent_span_id": parent,
                "name": name,
                "start_time_unix_nano": begin,
                "end_time_unix_nano": end,
                "events": [],
                "status": {"code": "STATUS_CODE_ERROR" if error else "STATUS_CODE_OK", "message": error},
                "attributes": {key: json.dumps(value) for key, value in values.items()},
            }
        )
        return own

    lengths = [
        (TOKEN_NS * max(len(turn.response_ids) - turn.forced, 1), TICK_NS * turn.ticks) for turn in trajectory.turns
    ]
    root = add(
        trajectory.task,
        "AGENT",
        None,
        start_ns,
        start_ns + sum(a + b for a, b in lengths),
        trajectory.failure,
        **{
            "mlflow.spanInputs": {
                "task": trajectory.task,
                "instruction": trajectory.instruction,
                "spaces": list(trajectory.spaces),
            },
            "mlflow.spanOutputs": {
                "success": trajectory.success,
                "stop_reason": trajectory.stop_reason.value,
                "turns": len(trajectory.turns),
                "ticks": trajectory.ticks,
            },
        },
        category=trajectory.category,
        environment=trajectory.env,
        seed=trajectory.seed,
        group=trajectory.group,
        member=trajectory.member,
        time_axis=TIME_AXIS,
    )
    now = start_ns
    for number, (turn, (generating, executing)) in enumerate(zip(trajectory.turns, lengths, strict=True), start=1):
        wrong = turn.invalid or turn.error
        between, end = now + generating, now + generating + executing
        chain = add(
            f"turn {number}",
            "CHAIN",
            root,
            now,
            end,
            wrong,
            **{
                "mlflow.spanInputs": {"observation": turn.observation},
                "mlflow.spanOutputs": {"response": turn.text, "reward": turn.reward, "cost": turn.cost},
            },
            space=turn.space,
        )
        tokens = {"input_tokens": len(turn.prompt_ids), "output_tokens": len(turn.response_ids)}
        add(
            "generate",
            "LLM",
            chain,
            now,
            between,
            "",
            **{
                "mlflow.spanInputs": _seen(turn),
                "mlflow.spanOutputs": turn.text,
                "mlflow.chat.tokenUsage": {**tokens, "total_tokens": sum(tokens.values())},
            },
            space=turn.space,
            forced_tokens=turn.forced,
            finish_reason=turn.finish_reason,
            space_probabilities=_probabilities(turn, trajectory.spaces),
            header_logprob=turn.sampler_logprobs[0] if turn.sampler_logprobs else None,
            logprob=sum(turn.sampler_logprobs),
        )
        add(
            "execute",
            "TOOL",
            chain,
            between,
            end,
            wrong,
            **{
                "mlflow.spanInputs": {"space": turn.space, "action": turn.payload},
                "mlflow.spanOutputs": {
                    "ticks": turn.ticks,
                    "events": [f"{event.kind}:{event.name}" for event in turn.events],
                    "error": turn.error,
                    "invalid": turn.invalid,
                },
            },
            ticks=turn.ticks,
            reward=turn.reward,
            cost=turn.cost,
        )
        now = end
    return made


def _seen(turn: Turn) -> dict[str, Any]:
    """Return the observation; one with an image as a message, which MLflow shows with its picture."""
    if not turn.image:
        return {"observation": turn.observation}
    url = f"data:image/png;base64,{_base64(turn.image)}"
    image, text = {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": turn.observation}
    return {"messages": [{"role": "user", "content": [image, text]}]}


def _probabilities(turn: Turn, spaces: Sequence[str]) -> dict[str, float] | None:
    """Return the probability of opening with each space's header, where it was recorded."""
    if len(turn.space_logprobs) != len(spaces):
        return None
    return {space: math.exp(value) for space, value in zip(spaces, turn.space_logprobs, strict=True)}


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def sample(trajectories: Sequence[Trajectory], count: int) -> list[int]:
    """Return which trajectories to show: successes and failures in turn, each in the order they were played."""
    won = [i for i, t in enumerate(trajectories) if t.success]
    lost = [i for i, t in enumerate(trajectories) if not t.success]
    paired = [i for pair in zip(won, lost, strict=False) for i in pair]
    rest = won[len(lost) :] or lost[len(won) :]
    return sorted([*paired, *rest][:count])


def feedback(trajectory: Trajectory, weights: Mapping[str, float]) -> list[tuple[str, bool | float, str]]:
    """Return (name, value, rationale) of each assessment of a trajectory: success, and its return J."""
    j = float(trajectory.success) - trajectory.weighted_cost(weights)
    return [
        ("success", trajectory.success, f"the task's verifier; the episode ended with {trajectory.stop_reason.value}"),
        ("return", j, "J = success − Σ λ·cost"),
    ]
