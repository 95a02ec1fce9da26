"""Loss and gradient do not depend on micro-batches, row order, turns sharing rows, or the number of ranks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import COMBINATIONS, Episodes, Rows

from crossagent.algorithms import gigpo_advantages

shapes = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=5)


@pytest.mark.parametrize(("how", "level", "importance"), COMBINATIONS)
@settings(max_examples=8)
@given(lengths=shapes, seed=st.integers(0, 10_000), data=st.data())
def test_loss_and_gradient_do_not_depend_on_the_layout(
    how: str, level: str, importance: str | None, lengths: list[list[int]], seed: int, data: st.DataObject
) -> None:
    episodes = Episodes.random(lengths, seed)
    normaliser = episodes.normaliser(how, episodes.concatenated)

    def value_and_gradient(batches: list[Rows]) -> tuple[torch.Tensor, torch.Tensor]:
        episodes.new.grad = None
        losses = [episodes.loss(rows, how, level, importance, normaliser) for rows in batches]
        for loss in losses:
            loss.backward()
        return sum(losses).detach(), episodes.new.grad.clone()

    whole = value_and_gradient([episodes.concatenated])
    shuffled = data.draw(st.permutations(episodes.split))
    size = data.draw(st.integers(1, len(shuffled)))
    parts = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
    for layout in ([episodes.split], [shuffled], parts, [[row] for row in episodes.concatenated]):
        for got, expected in zip(value_and_gradient(layout), whole, strict=True):
            torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-6)
    assert whole[1].isfinite().all()
    assert whole[1].abs().max() > 0


@settings(max_examples=30)
@given(lengths=shapes, seed=st.integers(0, 10_000), data=st.data())
def test_gigpo_does_not_depend_on_how_trajectories_interleave(
    lengths: list[list[int]], seed: int, data: st.DataObject
) -> None:
    """Rows of one trajectory stay in turn order; ids of groups and anchors may be any."""
    generator = torch.Generator().manual_seed(seed)
    owner = [t for t, own in enumerate(lengths) for _ in own]
    returns, group = torch.randn(len(lengths), generator=generator), torch.arange(len(lengths)) % 2
    rewards, anchor = (
        torch.randn(len(owner), generator=generator),
        torch.randint(0, 3, (len(owner),), generator=generator),
    )
    straight = gigpo_advantages(returns, group, rewards, torch.tensor(owner), anchor)
    mixed = data.draw(st.permutations(owner))
    waiting = {t: iter([i for i, o in enumerate(owner) if o == t]) for t in set(owner)}
    order = torch.tensor([next(waiting[t]) for t in mixed])
    got = gigpo_advantages(returns, group + 7, rewards[order], torch.tensor(owner)[order], 10 - anchor[order])
    torch.testing.assert_close(got, straight[order], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_two_processes_that_average_gradients_make_the_gradient_of_one(tmp_path: Path) -> None:
    """DistributedDataParallel over gloo, rows split unevenly; see two_ranks.py."""
    script = Path(__file__).parent / "two_ranks.py"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    compared = torch.load(tmp_path / "gradients.pt", weights_only=True)
    assert len(compared) == len(COMBINATIONS) * 3
    for name, (averaged, alone) in compared.items():
        torch.testing.assert_close(averaged, alone, rtol=2e-5, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")
        assert alone.abs().max() > 1e-4
