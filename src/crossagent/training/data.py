"""What a training step is given: the schedule of SFT batches, and the counter of GRPO iterations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import lightning
import torch
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from crossagent.distributed import Ranks
from crossagent.seeding import derive
from crossagent.training.batch import Batch, Row, collate, with_shared
from crossagent.training.config import SFTConfig


class SFTPart(NamedTuple):
    """One micro-batch, and what its loss is divided by."""

    batch: Batch
    tokens: int
    """Trained tokens of the whole optimiser step: all its micro-batches, all ranks."""
    pictures: bool = False
    """Whether some row of the whole training has a picture."""


class SFTSchedule(Dataset[SFTPart]):
    """Every micro-batch of a whole supervised training, in order; item i depends on (rows, config, seed, i) alone.

    Rows are drawn in one seeded permutation per epoch; step s takes the next ``batch_size`` of that stream, sorts them by
    length and cuts them into ``micro_batches`` parts, the longest first; a rank takes its share of each part. As the schedule
    knows every row of a step, the normaliser is global without any communication between ranks.

    Raises:
        ValueError: There is no row that trains anything.
    """

    def __init__(
        self, rows: Sequence[Row], config: SFTConfig, pad_id: int, seed: int, ranks: Ranks | None = None
    ) -> None:
        """Schedule ``rows``. ``ranks``: whose share an item is; None: this process's, when it is asked for."""
        self.rows = [row for row in rows if row.trained_tokens]
        if not self.rows:
            raise ValueError("SFT: no rows to train on; the demonstrations are empty")
        self.batch_size = min(config.batch_size, len(self.rows))
        self.parts = min(config.micro_batches, self.batch_size)
        self.steps = max(1, round(config.epochs * len(self.rows) / self.batch_size))
        self.pad_id, self.seed, self.ranks = pad_id, seed, ranks
        self.pictures = any(row.images for row in self.rows)
        self._orders: dict[int, list[int]] = {}
        self._step: tuple[int, list[Row]] = (-1, [])
        """The last step that was asked for; its parts are, one by one."""

    def __len__(self) -> int:
        return self.steps * self.parts

    def __getitem__(self, index: int) -> SFTPart:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step, part = divmod(index, self.parts)
        chosen = self.step_rows(step)
        tokens = sum(row.trained_tokens for row in chosen)
        cuts = [len(chosen) * k // self.parts for k in range(self.parts + 1)]
        mine = (self.ranks or Ranks.current()).local_items(chosen[cuts[part] : cuts[part + 1]])
        return SFTPart(collate(mine, self.pad_id) if mine else nothing(chosen, self.pad_id), tokens, self.pictures)

    def step_rows(self, step: int) -> list[Row]:
        """Return the rows of one optimiser step, longest first, and what they share."""
        if self._step[0] == step:
            return self._step[1]
        stream = range(step * self.batch_size, (step + 1) * self.batch_size)
        chosen = [self._order(i // len(self.rows))[i % len(self.rows)] for i in stream]
        rows = with_shared([self.rows[i] for i in sorted(chosen, key=lambda i: (-len(self.rows[i]), i))])
        self._step = step, rows
        return rows

    def _order(self, epoch: int) -> list[int]:
        if epoch not in self._orders:
            order = list(range(len(self.rows)))
            random.Random(derive(self.seed, "sft-order", epoch)).shuffle(order)
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1} | {epoch: order}
        return self._orders[epoch]


def nothing(rows: Sequence[Row], pad_id: int) -> Batch:
    """Return the shortest of ``rows`` with nothing to train: a rank without rows takes part in every pass all the same."""
    batch = collate([min(rows, key=len)], pad_id)
    mask = torch.zeros_like(batch.loss_mask)
    return replace(batch, response_mask=mask, loss_mask=mask)


class Iterations(Dataset[int]):
    """0, 1, 2, …: one item, one ``training_step``, one rollout. Sized, so that Lightning never plays one ahead."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.iterations:
            raise IndexError(index)
        return index


class SFTDataModule(lightning.LightningDataModule):
    """An :class:`SFTSchedule` for an ordinary ``Trainer(accumulate_grad_batches=config.micro_batches,
    use_distributed_sampler=False)``.
    """

    def __init__(self, rows: Sequence[Row], config: SFTConfig, pad_id: int, seed: int = 0) -> None:
        super().__init__()
        self.schedule = SFTSchedule(rows, config, pad_id, seed)

    def train_dataloader(self) -> StatefulDataLoader[SFTPart]:
        """Return the schedule, resumable at any item."""
        return StatefulDataLoader(self.schedule, batch_size=None, shuffle=False, num_workers=0)


class RolloutDataModule(lightning.LightningDataModule):
    """The iterations of a ``GRPOModule``, for an ordinary ``Trainer(max_epochs=1)``; the module plays them itself."""

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self.iterations = Iterations(iterations)

    def train_dataloader(self) -> StatefulDataLoader[int]:
        """Return the numbers of the iterations."""
        return StatefulDataLoader(self.iterations, batch_size=None, shuffle=False, num_workers=0)
