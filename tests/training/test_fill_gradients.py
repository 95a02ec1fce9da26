"""Weights that a step did not use have a gradient of 0: AdamW moves them on, in one process as in several."""

from __future__ import annotations

import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn

from crossagent.training.strategies import fill_gradients, optimiser_step


def test_a_weight_without_a_gradient_goes_on_by_its_momentum() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimiser = torch.optim.AdamW([used, unused], lr=0.1, weight_decay=0.0)
    strategy = SingleDeviceStrategy(device=torch.device("cpu"))
    (used.sum() + unused.sum()).backward()
    optimiser_step(strategy, optimiser, [used, unused], 1.0)
    before = unused.detach().clone()
    optimiser.zero_grad()
    used.sum().backward()
    optimiser_step(strategy, optimiser, [used, unused], 1.0)
    assert (unused < before).all()


def test_gradients_that_are_there_stay() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    used.sum().backward()
    fill_gradients(SingleDeviceStrategy(device=torch.device("cpu")), [used, unused])
    assert used.grad.tolist() == [1.0, 1.0]
    assert unused.grad.tolist() == [0.0, 0.0, 0.0]
