"""What training made of the turns it was given: which tokens train, with what advantage, how far from the reference.

A trajectory says what happened; these are decisions and scores of one iteration, so they lie in a file of their own beside
the trajectories', joined by (group, member).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from crossagent.errors import DataError
from crossagent.rollout.store import read_rows, write_rows
from crossagent.types import Trajectory

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class TurnCredit:
    """One turn in training; lists have one entry per response token, 0 where a token does not train."""

    advantage: float
    """NaN where the trajectory did not train: a failure, or a group that teaches nothing."""
    loss_mask: tuple[bool, ...] = ()
    """Empty where the trajectory did not train."""
    logprobs: tuple[float, ...] = ()
    """Under the policy at the start of the iteration (``old_logprobs``)."""
    ref_logprobs: tuple[float, ...] = ()
    """Under the reference policy; empty without one."""


Credits = list[tuple[TurnCredit, ...]]
"""Per trajectory, then turn."""
_CREDIT = pa.schema(
    {
        "group": pa.int64(),
        "member": pa.int64(),
        "turns": pa.list_(
            pa.struct(
                {
                    "advantage": pa.float64(),
                    "loss_mask": pa.list_(pa.bool_()),
                    "logprobs": pa.list_(pa.float32()),
                    "ref_logprobs": pa.list_(pa.float32()),
                }
            )
        ),
    }
)


def credit_file(directory: Path | str, step: int) -> Path:
    """Return the file beside :func:`crossagent.rollout.store.step_file`."""
    return Path(directory) / f"credit-{step:06d}.parquet"


def save_credits(
    path: Path | str, trajectories: Sequence[Trajectory], credits: Credits, meta: Mapping[str, Any] | None = None
) -> None:
    """Write the credit of ``trajectories`` to a new file, atomically."""
    rows = [
        {"group": trajectory.group, "member": trajectory.member, "turns": [asdict(turn) for turn in turns]}
        for trajectory, turns in zip(trajectories, credits, strict=True)
    ]
    write_rows(path, rows, _CREDIT, "credit", SCHEMA_VERSION, meta)


def load_credits(
    path: Path | str, groups: Collection[int] | None = None
) -> dict[tuple[int, int], tuple[TurnCredit, ...]]:
    """Return (group, member) → credit per turn; of these groups, or all.

    Raises:
        DataError: The file is missing, damaged, something else, or of another schema.
    """
    rows, _ = read_rows(path, "credit", SCHEMA_VERSION, groups=groups)
    try:
        return {
            (row["group"], row["member"]): tuple(
                TurnCredit(
                    turn["advantage"],
                    tuple(turn["loss_mask"]),
                    tuple(turn["logprobs"]),
                    tuple(turn["ref_logprobs"]),
                )
                for turn in row["turns"]
            )
            for row in rows
        }
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not credit of schema {SCHEMA_VERSION}: {error}") from error
