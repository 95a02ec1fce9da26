import subprocess
import sys
from pathlib import Path

import many
import pytest

from crossagent import distributed as module
from crossagent.distributed import Ranks
from crossagent.errors import CrossAgentError


def test_alone_everything_is_ones_own() -> None:
    ranks = Ranks.current()
    assert ranks == Ranks.join() == Ranks(0, 1, 0, 1)
    assert (ranks.is_rank_zero, ranks.all_gather("a"), ranks.broadcast("b"), ranks.any(True), ranks.any(False)) == (
        True, ["a"], "b", True, False,
    )  # fmt: skip
    assert ranks.all_reduce_sum({"a": 2.0}) == {"a": 2.0}
    assert ranks.gather_in_order(ranks.local_items(range(3))) == [0, 1, 2]
    ranks.barrier()
    ranks.leave()


def test_alone_no_torch_is_loaded() -> None:
    code = (
        "import sys; from crossagent.distributed import Ranks; r = Ranks.join(); assert r == Ranks.current();"
        "r.all_gather(1); r.any(True); r.barrier(); r.leave(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.multiprocess
def test_several_tell_each_other_in_the_order_of_ranks(tmp_path: Path) -> None:
    two, three, dead = many.run(
        tmp_path,
        [many.Call(2, "ranks_cases:talk"), many.Call(3, "ranks_cases:talk"), many.Call(2, "ranks_cases:die")],
    )
    for size, ended in ((2, two), (3, three)):
        found = many.values(ended)
        for rank, one in enumerate(found):
            assert one["where"] == [rank, size, rank, size]
            assert one["first"] == (rank == 0)
            assert one["gather"] == list(range(size))
            assert one["share"] == "of rank 0"
            assert one["any"] == [True, False]
            assert one["total"] == {"a": sum(1.0 + r for r in range(size)), "b": 0.5 * size}
            assert one["joined"] == [[], [0], [0, 10, 20, 30, 40]]
        assert sorted(k for one in found for k in one["mine"]) == [0, 1, 2, 3, 4]
    survivor, killed = dead
    assert killed.status == many.KILLED
    assert survivor.status == 0, survivor.error
    assert survivor.seconds < 30, "a dead rank is noticed, not waited for"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "two"}, r"WORLD_SIZE='two'; expected the number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, r"RANK=2 of WORLD_SIZE=2; expected 0 … 1"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}, r"MASTER_PORT, LOCAL_RANK not set; .* torchrun"),
    ],
)
def test_a_senseless_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CrossAgentError, match=message):
        Ranks.join()


def test_others_who_do_not_come_are_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", str(many._free_port()))
    monkeypatch.setattr(module, "START", module.timedelta(seconds=1))
    with pytest.raises(CrossAgentError, match=r"rank 0 of 2 could not meet the others at 127\.0\.0\.1:\d+"):
        Ranks.join()
