"""What several processes play together is what one plays alone; here each of them is a thread with a pool of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from crossagent.demonstrations.collect import collect
from crossagent.distributed import ALONE, Ranks
from crossagent.envs.workers.pool import WorkerPool
from crossagent.errors import CrossAgentError
from crossagent.plugin import SamplingParams
from crossagent.rollout.evaluate import evaluate, evaluate_experts, evaluation_list
from crossagent.rollout.loop import Episode, play
from crossagent.seeding import derive
from crossagent.testing import ToySuite
from crossagent.types import StopReason

ALL = ("api", "gui", "control")
PARAMS = SamplingParams(max_new_tokens=48)
SUITE = ToySuite()


def episodes(groups: int = 3) -> list[Episode]:
    tasks = [SUITE.get(name) for name in ("get:apple", "make:bow", "catch:bug")]
    return [Episode(tasks[g % 3], derive(1, "world", g), g, m, ALL) for g in range(groups) for m in range(4)]


@dataclass
class Board:
    """Where threads leave what they gather."""

    size: int
    barrier: threading.Barrier = field(init=False)
    values: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.barrier, self.values = threading.Barrier(self.size, timeout=60), [None] * self.size


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    board: Any = None

    def all_gather(self, value: Any) -> list[Any]:
        self.board.values[self.rank] = value
        self.board.barrier.wait()
        gathered = list(self.board.values)
        self.board.barrier.wait()
        return gathered


def together(size: int, what: Callable[[Ranks], Any]) -> list[Any]:
    """Return what ``what`` returned, or raised, on each rank."""
    board, found = Board(size), [None] * size

    def one(rank: int) -> None:
        try:
            found[rank] = what(ThreadRanks(rank, size, rank, size, board))
        except BaseException as error:
            found[rank] = error
            time.sleep(0.2)  # whoever is on its way out of the barrier gets there
            board.barrier.abort()  # as the connection of a process that has ended breaks

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.fixture
def pools(toy: Any) -> Iterator[list[WorkerPool]]:
    with ExitStack() as stack:
        yield [stack.enter_context(WorkerPool(toy, 0, worlds, timeout_s=30)) for worlds in (4, 3, 5)]


@pytest.fixture
def played(prompt: Any, whimsicals: Any) -> Callable[..., Any]:
    def go(ranks: Any, pool: WorkerPool, listed: Any = None, **more: Any) -> Any:
        common = {"prompt": prompt, "params": PARAMS, "seed": 7, "step": 3, "ranks": ranks, **more}
        return play(episodes() if listed is None else listed, pool=pool, sampler=whimsicals(), **common)

    return go


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("schedule", ["halves", "lockstep", "async"])
def test_trajectories_are_those_of_one_process_on_every_rank(
    pools: list[WorkerPool], played: Any, size: int, schedule: str
) -> None:
    alone = played(ALONE, pools[0])
    assert len({len(t.turns) for t in alone}) > 1, "episodes end at different times"
    found = together(size, lambda ranks: played(ranks, pools[ranks.rank], schedule=schedule))
    assert found == [alone] * size


def test_a_rank_without_episodes_waits_for_the_others(pools: list[WorkerPool], played: Any) -> None:
    alone = played(ALONE, pools[0], episodes(1))
    assert together(3, lambda ranks: played(ranks, pools[ranks.rank], episodes(1))) == [alone] * 3
    assert together(2, lambda ranks: played(ranks, pools[ranks.rank], [])) == [[], []]


def test_demonstrations_and_cells_are_those_of_one_process(
    pools: list[WorkerPool], prompt: Any, whimsicals: Any
) -> None:
    tasks = [t for t in SUITE.tasks() if "train" in t.splits]

    def demonstrations(ranks: Any, pool: WorkerPool) -> Any:
        mixture = {"api": 1, "control": 1, "mixed": 1}
        return collect(pool, tasks, ranks=ranks, episodes=30, mixture=mixture, seed=11, also_under_all=0.5)

    alone = demonstrations(ALONE, pools[0])
    assert together(2, lambda ranks: demonstrations(ranks, pools[ranks.rank])) == [alone] * 2
    listed = evaluation_list("id", tasks, 7, 0)

    def cells(ranks: Any, pool: WorkerPool) -> Any:
        common = {"pool": pool, "seed": 5, "weights": {"api": 0.1}, "ranks": ranks}
        agent = {"sampler": whimsicals(), "prompt": prompt, "params": PARAMS}
        return evaluate(listed, spaces=ALL, **agent, **common), evaluate_experts(listed, kind="mixed", **common)

    assert together(2, lambda ranks: cells(ranks, pools[ranks.rank])) == [cells(ALONE, pools[0])] * 2


def test_a_broken_world_costs_the_same_trajectory_whoever_plays_it(faulty: Any, played: Any) -> None:
    broken = [derive(1, "world", 1)]
    with ExitStack() as stack:
        pools = [
            stack.enter_context(WorkerPool(faulty(at="reset", seeds=broken), 0, 4, timeout_s=20)) for _ in range(2)
        ]
        alone = played(ALONE, pools[0])
        assert together(2, lambda ranks: played(ranks, pools[ranks.rank])) == [alone] * 2
    assert {t.group for t in alone if t.stop_reason is StopReason.failure} == {1}


@pytest.mark.parametrize(("most", "aborts"), [(0.34, False), (0.3, True)])
def test_what_is_lost_is_counted_over_all_ranks(faulty: Any, played: Any, most: float, aborts: bool) -> None:
    """4 of 12 episodes are lost: all of the 4 that rank 1 plays, none of the 8 of rank 0."""
    broken = [derive(1, "world", 1)]
    with ExitStack() as stack:
        pools = [
            stack.enter_context(WorkerPool(faulty(at="reset", seeds=broken), 0, 4, timeout_s=20, max_failed=most))
            for _ in range(2)
        ]
        found = together(2, lambda ranks: played(ranks, pools[ranks.rank]))
    if not aborts:
        assert len(found[0]) == len(found[1]) == 12
        return
    assert isinstance(found[1], CrossAgentError)
    assert "4 of 12 episodes were lost to their worlds" in str(found[1])
    assert isinstance(found[0], threading.BrokenBarrierError), "rank 0 does not wait for ever"


def test_losses_that_are_too_many_only_together_abort_on_all_ranks(faulty: Any, played: Any) -> None:
    broken = [derive(1, "world", group) for group in (0, 1)]
    with ExitStack() as stack:
        pools = [
            stack.enter_context(WorkerPool(faulty(at="reset", seeds=broken), 0, 4, timeout_s=20, max_failed=0.6))
            for _ in range(2)
        ]
        found = together(2, lambda ranks: played(ranks, pools[ranks.rank]))
    assert [str(error).split(" to ")[0] for error in found] == ["8 of 12 episodes were lost"] * 2
