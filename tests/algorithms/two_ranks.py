"""One of two processes: gradients of its share of the rows, averaged by DistributedDataParallel; rank 0 compares.

Arguments: rank, directory. Run by test_invariance.py.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from layouts import COMBINATIONS, Episodes
from torch.nn.parallel import DistributedDataParallel

LENGTHS = [[3, 1, 4], [2], [5, 2], [1, 1, 1, 6]]
CUTS = {"even": lambda n: n // 2, "uneven": lambda n: 1, "last": lambda n: n - 1}
"""How many turn rows rank 0 gets: trajectories are torn between ranks."""


class Holder(torch.nn.Module):
    """The log-probs as parameters."""

    def __init__(self, new: torch.Tensor) -> None:
        super().__init__()
        self.new = torch.nn.Parameter(new.detach().clone())

    def forward(self) -> torch.Tensor:
        return self.new * 1.0


def main(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{directory / 'meet'}", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    episodes = Episodes.random(LENGTHS, 5)
    compared: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for how, level, importance in COMBINATIONS:
        for name, cut in CUTS.items():
            at = cut(len(episodes.split))
            mine = episodes.split[:at] if rank == 0 else episodes.split[at:]
            model = DistributedDataParallel(Holder(episodes.new))
            count = torch.tensor(episodes.normaliser(how, mine))
            dist.all_reduce(count)
            # DDP averages over ranks: times the world size, the sum of the shares is the loss of one process.
            loss = 2 * episodes.loss(mine, how, level, importance, float(count), model())
            loss.backward()
            episodes.new.grad = None
            everything = episodes.normaliser(how, episodes.concatenated)
            episodes.loss(episodes.concatenated, how, level, importance, everything).backward()
            compared[f"{how}, {level}, importance {importance}, {name}"] = (
                model.module.new.grad.clone(),
                episodes.new.grad.clone(),
            )
    dist.barrier()
    if rank == 0:
        torch.save(compared, directory / "gradients.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
