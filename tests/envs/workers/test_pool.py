import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import pytest

from crossagent.envs.workers.pool import EnvFailure, WorkerPool
from crossagent.envs.world import Acted, Started, WorldConfig
from crossagent.errors import CrossAgentError, PluginError
from crossagent.plugin import ActionSpaceSpec
from crossagent.testing import ToySuite, faulty_environment, toy_environment

SPACES = (
    (ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace"), {}),
    (ActionSpaceSpec("gui", "1", ("pointer",), "Gui:", "crossagent_gui.space:GuiSpace"), {}),
    (ActionSpaceSpec("control", "1", ("control",), "Action:", "crossagent_control.space:ControlSpace"), {"ticks": 4}),
)
TOY = WorldConfig(toy_environment(), {}, SPACES)
TASK = ToySuite().get("get:apple")
GOTO = "Api: goto(apple)"


@pytest.fixture(
    params=[
        "processes",
        pytest.param(
            "ray",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'crossagent[ray]'"),
            ],
        ),
    ]
)
def Pool(request):
    """Each pool of workers in turn: they keep the same contract."""
    if request.param == "processes":
        return WorkerPool
    from crossagent.envs.workers.ray_pool import RayPool

    return RayPool


def faulty(**options) -> WorldConfig:
    return WorldConfig(faulty_environment(), options, SPACES)


def gone(pid: int) -> bool:
    """True when no process has this id, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def zombies() -> set[int]:
    out = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "pid=,stat="], capture_output=True, text=True)
    return {int(line.split()[0]) for line in out.stdout.splitlines() if line.split()[1].startswith("Z")}


def reset_all(pool: WorkerPool, seeds: list[int]) -> list:
    return pool.call_many("reset", [(slot, (TASK, seed)) for slot, seed in enumerate(seeds)])


def act_all(pool: WorkerPool, slots: list[int], text: str = GOTO) -> list:
    return pool.call_many("act", [(slot, (text, None)) for slot in slots])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_jobs_and_depend_on_slot_and_arguments_alone(Pool, workers):
    with Pool(TOY, workers, 4 if workers < 2 else 2, timeout_s=20) as pool:
        assert pool.slots == 4
        started = reset_all(pool, [5, 6, 5, 7])
        acted = act_all(pool, [2, 0, 1])
    assert all(isinstance(s, Started) for s in started)
    assert started[0] == started[2]
    assert len({s.state_hash for s in started}) == 3
    assert all(isinstance(a, Acted) and not a.invalid for a in acted)
    assert acted[0] == acted[1] != acted[2]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_world_that_raises_costs_its_own_episode_only(Pool, workers):
    with Pool(faulty(fault="raise", seeds=[6]), workers, 4 if not workers else 2, timeout_s=20) as pool:
        pids = pool.pids
        reset_all(pool, [5, 6, 7, 8])
        acted = act_all(pool, [0, 1, 2, 3])
        assert [type(a) for a in acted] == [Acted, EnvFailure, Acted, Acted]
        failure = acted[1]
        assert (failure.kind, failure.task, failure.seed) == ("raised", "get:apple", 6)
        assert "RuntimeError: faulty world" in failure.reason
        assert "Traceback" in failure.detail
        assert pool.pids == pids
        assert pool.restarts == 0
        refused = act_all(pool, [1])[0]
        assert refused.kind == "refused"
        assert isinstance(pool.call("reset", 1, TASK, 9), Started)
        assert isinstance(act_all(pool, [1])[0], Acted)
        assert pool.failures == Counter(raised=1)


@pytest.mark.parametrize(("fault", "kind"), [("exit", "exited"), ("hang", "hung")])
def test_a_worker_that_goes_down_costs_its_episodes_and_is_replaced(Pool, fault, kind):
    with Pool(faulty(fault=fault, seeds=[7]), 2, 2, timeout_s=1.0) as pool:
        pids = pool.pids
        reset_all(pool, [5, 6, 7, 8])  # slots 0 and 2 share a worker
        before = time.monotonic()
        acted = act_all(pool, [0, 1, 2, 3])
        assert time.monotonic() - before < 15
        assert [getattr(a, "kind", "ok") for a in acted] == ["lost", "ok", kind, "ok"]
        assert (acted[2].task, acted[2].seed) == ("get:apple", 7)
        assert (acted[0].task, acted[0].seed) == ("get:apple", 5)
        assert "'get:apple', seed 7" in acted[0].reason
        assert pool.restarts == 1
        assert gone(pids[0])
        assert not zombies()
        assert [r.kind for r in act_all(pool, [0, 2])] == ["refused", "refused"], "never spliced onto a fresh world"
        assert all(isinstance(s, Started) for s in reset_all(pool, [5, 6]))
        assert isinstance(act_all(pool, [0])[0], Acted)
        assert pool.failures == Counter({"lost": 1, kind: 1})


def test_a_killed_worker_is_replaced_and_its_living_episodes_are_refused(Pool):
    with Pool(TOY, 2, 2, timeout_s=20) as pool:
        reset_all(pool, [5, 6, 7, 8])
        os.kill(pool.pids[1], signal.SIGKILL)
        time.sleep(0.2)
        acted = act_all(pool, [0, 1, 2])
        assert [getattr(a, "kind", "ok") for a in acted] == ["ok", "lost", "ok"]
        assert "SIGKILL" in acted[1].reason or "unexpectedly" in acted[1].reason
        later = act_all(pool, [3])[0]
        assert (later.kind, later.seed, later.fault) == ("lost", 8, "infrastructure"), "its next turn says why"
        assert act_all(pool, [3])[0].kind == "refused"
        assert all(isinstance(s, Started) for s in reset_all(pool, [5, 6, 7, 8]))
        assert not zombies()


def test_a_worker_killed_in_the_middle_of_a_job_blames_that_job(Pool):
    with Pool(faulty(fault="hang", seeds=[6]), 1, 2, timeout_s=60) as pool:
        reset_all(pool, [5, 6])
        killer = subprocess.Popen(["sh", "-c", f"sleep 0.7; kill -9 {pool.pids[0]}"])
        acted = act_all(pool, [0, 1])
        killer.wait()
    assert [a.kind for a in acted] == ["lost", "killed"]
    assert "SIGKILL" in acted[1].reason


def test_a_stopped_worker_has_hung(Pool):
    with Pool(TOY, 1, 1, timeout_s=1.0) as pool:
        reset_all(pool, [5])
        os.kill(pool.pids[0], signal.SIGSTOP)
        assert act_all(pool, [0])[0].kind in ("hung", "lost")
        assert isinstance(reset_all(pool, [5])[0], Started)


@pytest.mark.parametrize("fault", ["exit", "hang", "raise"])
def test_methods_without_an_episode_lose_only_the_job_at_fault(Pool, fault):
    with Pool(faulty(fault=fault, at="reset", seeds=[6, 9]), 2, 2, timeout_s=1.0) as pool:
        started = pool.spread("reset", [(TASK, seed) for seed in (4, 5, 6, 7)])
        assert [type(s) for s in started] == [Started, Started, EnvFailure, Started]
        played = pool.spread("demonstrate", [(TASK, seed, ("api",), 0) for seed in range(4, 12)])
    assert [isinstance(p, EnvFailure) for p in played] == [s in (6, 9) for s in range(4, 12)]
    assert {p.seed for p in played if isinstance(p, EnvFailure)} == {6, 9}


def test_a_long_call_that_is_alive_has_not_hung(Pool, tmp_path):
    """Each turn of a demonstration restarts the clock."""
    (tmp_path / "slow_toy.py").write_text(
        "import time\nfrom crossagent.testing import ToyWorld\n"
        "class SlowToy(ToyWorld):\n"
        "    def tick(self, raw):\n"
        "        time.sleep(0.1)\n"
        "        super().tick(raw)\n"
    )
    config = replace(TOY, env=replace(toy_environment(), factory="slow_toy:SlowToy"))
    with Pool(config, 1, 1, timeout_s=0.9) as pool:
        before = time.monotonic()
        played = pool.call("demonstrate", 0, ToySuite().get("make:bow"), 3, ("control",), 0)
        assert time.monotonic() - before > 0.9
    assert not isinstance(played, EnvFailure), played


@pytest.fixture(autouse=True)
def _importable_directory(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_world_that_cannot_be_built_is_found_before_the_first_job(Pool, workers):
    with pytest.raises((PluginError, RuntimeError), match="faulty"):
        Pool(faulty(fault="raise", at="build"), workers, 1, timeout_s=5)
    assert not zombies()


def test_a_worker_that_dies_while_it_starts_is_a_setup_error(Pool):
    with pytest.raises(PluginError, match=r"'faulty'.*exited with status 13.*workers=0"):
        Pool(faulty(fault="exit", at="build"), 1, 1, timeout_s=5)
    with pytest.raises(PluginError, match="built no world within 1 s"):
        Pool(faulty(fault="hang", at="build"), 1, 1, timeout_s=5, start_timeout_s=1)
    assert not zombies()


def test_a_factory_that_is_not_there_is_named(Pool):
    with pytest.raises(PluginError, match="no_such_module:World"):
        Pool(replace(TOY, env=replace(TOY.env, factory="no_such_module:World")), 1, 1, timeout_s=5)


def test_closing_ends_and_reaps_every_worker_and_settings_are_checked(Pool):
    pool = Pool(TOY, 2, 1, timeout_s=5)
    pids = pool.pids
    assert len(pids) == 2
    pool.close()
    pool.close()
    assert all(gone(pid) for pid in pids)
    with pytest.raises(CrossAgentError, match="worlds_per_worker=0"):
        Pool(TOY, 1, 0, timeout_s=5)


def test_an_interrupted_call_leaves_no_answer_behind(Pool):
    with Pool(faulty(fault="hang", seeds=[6]), 1, 2, timeout_s=60) as pool:
        reset_all(pool, [5, 6])

        def interrupt(*_):
            raise KeyboardInterrupt

        old = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            with pytest.raises(KeyboardInterrupt):
                act_all(pool, [0, 1])
        finally:
            signal.signal(signal.SIGALRM, old)
        assert act_all(pool, [0])[0].kind == "refused"
        assert isinstance(pool.call("reset", 0, TASK, 5), Started)


CHILD = """
import sys, time
from crossagent.envs.workers.pool import WorkerPool
from crossagent.testing import ToySuite, faulty_environment
from crossagent.envs.world import WorldConfig
from crossagent.plugin import ActionSpaceSpec
space = (ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace"), {})
pool = WorkerPool(WorldConfig(faulty_environment(), {"fault": "hang"}, (space,)), 2, 1, timeout_s=600)
task = ToySuite().get("get:apple")
pool.call_many("reset", [(0, (task, 1)), (1, (task, 1))])
print(*pool.pids, "torch" in sys.modules, flush=True)
pool.call_many("act", [(0, ("Api: goto(apple)", None))])
"""


def test_workers_ignore_ctrl_c_and_end_with_their_parent_even_in_a_job_that_never_ends():
    # No guard around __main__ in this script: a worker must not run it again.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True, env=env)
    *pids, torch_loaded = parent.stdout.readline().split()
    assert torch_loaded == "False"
    time.sleep(0.3)
    for pid in pids:
        os.kill(int(pid), signal.SIGINT)
    time.sleep(0.3)
    assert not any(gone(int(pid)) for pid in pids)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not all(gone(int(pid)) for pid in pids):
        time.sleep(0.1)
    assert all(gone(int(pid)) for pid in pids)


def test_workers_have_one_thread_and_no_torch(Pool, tmp_path):
    (tmp_path / "peeking.py").write_text(
        "import os, sys\nfrom crossagent.testing import ToyWorld\n"
        "class Peeking(ToyWorld):\n"
        "    def anchor_key(self):\n"
        "        return os.environ['OMP_NUM_THREADS'] + ' ' + str('torch' in sys.modules)\n"
    )
    config = replace(TOY, env=replace(toy_environment(), factory="peeking:Peeking"))
    with Pool(config, 1, 1, timeout_s=20) as pool:
        assert pool.call("reset", 0, TASK, 1).anchor_key == "1 False"


def test_a_result_that_cannot_be_pickled_costs_its_job_only(Pool, tmp_path):
    (tmp_path / "closures.py").write_text(
        "from crossagent.testing import ToyWorld\n"
        "class Closures(ToyWorld):\n"
        "    def anchor_key(self):\n"
        "        class Local(str):\n"
        "            pass\n"
        "        return Local('odd') if self.things.get('apple', 0) % 2 else 'fine'\n"
    )
    config = replace(TOY, env=replace(toy_environment(), factory="closures:Closures"))
    with Pool(config, 1, 8, timeout_s=20) as pool:
        results = reset_all(pool, list(range(8)))
    kinds = {type(r) for r in results}
    assert kinds == {Started, EnvFailure}
    assert all("cannot cross processes" in r.reason for r in results if isinstance(r, EnvFailure))


def test_describe_gives_what_a_prompt_needs(Pool):
    with Pool(TOY, 1, 1, timeout_s=20) as pool:
        described = pool.describe()
    assert list(described.headers) == ["api", "gui", "control"]
    assert described.headers["gui"] == "Gui:"
    assert "goto" in described.fragments["api"]
    assert "api_response" in described.grammars["api"]


def test_calls_overlap_and_come_back_to_whom_they_belong(Pool):
    with Pool(TOY, 2, 2, timeout_s=20) as pool:
        calls = [pool.submit("reset", [(slot, (TASK, 5 + slot))]) for slot in range(4)]
        arrived = []
        while len(arrived) < 4:
            arrived += [call for call in pool.wait([c for c in calls if c not in arrived]) if call not in arrived]
        assert [call.results[0].state_hash for call in calls] == [s.state_hash for s in reset_all(pool, [5, 6, 7, 8])]
        first, second = pool.submit("act", [(0, (GOTO,))]), pool.submit("act", [(2, (GOTO,)), (1, (GOTO,))])
        assert isinstance(pool.finish(second)[0], Acted)
        assert first.done, "a worker does what it is sent in that order"
        assert isinstance(pool.finish(first)[0], Acted)


def test_a_death_ends_every_call_under_way_and_resets_are_done_again(Pool):
    with Pool(faulty(fault="exit", seeds=[6]), 1, 4, timeout_s=20) as pool:
        reset_all(pool, [5, 6, 7])
        acts = pool.submit("act", [(0, (GOTO,)), (1, (GOTO,))])
        reset = pool.submit("reset", [(3, (TASK, 8))])
        assert [r.kind for r in pool.finish(acts)] == ["lost", "exited"]
        assert isinstance(pool.finish(reset)[0], Started)
        lost = pool.lost(2)
        assert (lost.kind, lost.seed) == ("lost", 7)
        assert pool.lost(2) is None, "told once"
        assert act_all(pool, [2])[0].kind == "refused"
        assert isinstance(act_all(pool, [3])[0], Acted)
        assert pool.failures == Counter(lost=2, exited=1, refused=0)


def test_a_reset_has_a_deadline_of_its_own(Pool, tmp_path):
    (tmp_path / "slow_start.py").write_text(
        "import time\nfrom crossagent.testing import ToyWorld\n"
        "class SlowStart(ToyWorld):\n"
        "    def reset(self, task, seed):\n"
        "        time.sleep(1.2)\n"
        "        return super().reset(task, seed)\n"
        "    def tick(self, raw):\n"
        "        time.sleep(60)\n"
    )
    config = replace(TOY, env=replace(toy_environment(), factory="slow_start:SlowStart"))
    with Pool(config, 1, 1, timeout_s=0.6, reset_timeout_s=20) as pool:
        assert isinstance(pool.call("reset", 0, TASK, 5), Started)
        before = time.monotonic()
        assert act_all(pool, [0])[0].kind == "hung"
        assert time.monotonic() - before < 15
    with Pool(config, 1, 1, timeout_s=0.6) as pool:
        assert pool.call("reset", 0, TASK, 5).kind == "hung"


def test_a_hang_counts_from_when_it_began_also_when_nobody_looked(Pool):
    with Pool(faulty(fault="hang", seeds=[6]), 1, 1, timeout_s=1.0) as pool:
        reset_all(pool, [6])
        call = pool.submit("act", [(0, (GOTO,))])
        time.sleep(1.5)  # the main process is sampling
        before = time.monotonic()
        assert pool.finish(call)[0].kind == "hung"
        assert time.monotonic() - before < 0.9


def test_a_worker_that_dies_again_and_again_is_restarted_more_slowly_and_then_given_up(Pool, tmp_path):
    (tmp_path / "ever_broken.py").write_text(
        "import os, pathlib\nfrom crossagent.testing import ToyWorld\n"
        f"mark = pathlib.Path({str(tmp_path)!r}) / 'built'\n"
        "class EverBroken(ToyWorld):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        with mark.open('a') as file:\n"
        "            file.write('x')\n"
        "        if len(mark.read_text()) > 1:\n"
        "            os._exit(3)\n"
    )
    config = replace(TOY, env=replace(toy_environment(), factory="ever_broken:EverBroken"))
    with Pool(config, 1, 1, timeout_s=20) as pool:
        reset_all(pool, [5])
        os.kill(pool.pids[0], signal.SIGKILL)
        before = time.monotonic()
        with pytest.raises(PluginError, match="cannot start in a worker: exited with status 3"):
            reset_all(pool, [5])
        assert time.monotonic() - before > 0.1 + 0.2 + 0.4
    assert not zombies()
