"""Started by torchrun or ``fabric run``: what each of the processes does. Loads no torch.

Training runs in one process today, so a recipe is run once however many copies a launcher starts: the process of rank 0
takes the launcher's variables out of its environment and goes on as if it had been started alone; the others end at once
with 0. One copy of the run, nothing written twice, and the launcher's exit code is decided by rank 0.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from crossagent.errors import CrossAgentError

VARIABLES = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
PREFIXES = ("TORCHELASTIC_", "LT_")
"""What torchrun sets, and (``LT_``) what ``fabric run`` adds: Lightning and others would act upon them."""


def leave_launcher(environ: MutableMapping[str, str] = os.environ) -> tuple[int, int]:
    """Return (rank, number of processes) of this process; (0, 1) when no launcher started it.

    The launcher's variables are gone from ``environ`` afterwards: what runs here is a process of its own.

    Raises:
        CrossAgentError: ``RANK`` or ``WORLD_SIZE`` is not a number.
    """
    if "RANK" not in environ or "WORLD_SIZE" not in environ:
        return 0, 1
    try:
        rank, size = int(environ["RANK"]), int(environ["WORLD_SIZE"])
    except ValueError as error:
        raise CrossAgentError(
            f"environment: got RANK={environ['RANK']!r}, WORLD_SIZE={environ['WORLD_SIZE']!r}; expected the numbers that "
            "torchrun sets. Fix: unset both to start without a launcher"
        ) from error
    for name in [n for n in environ if n in VARIABLES or n.startswith(PREFIXES)]:
        del environ[name]
    return rank, size


def notice(size: int) -> str:
    """Return what rank 0 says, once, when it is not alone."""
    return (
        f"a launcher started {size} processes; this version trains in one, so the first does all the work and the "
        "others end now. `crossagent run RECIPE` does the same without them."
    )
