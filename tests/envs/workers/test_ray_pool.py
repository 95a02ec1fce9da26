"""What is Ray's own in a pool of Ray workers; the contract that it shares is in ``test_worker.py``."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import pytest

from crossagent.envs.workers import ray_pool
from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.workers.ray_pool import RayPool
from crossagent.envs.world import Acted, Started, WorldConfig
from crossagent.errors import MissingExtraError
from crossagent.plugin import ActionSpaceSpec
from crossagent.testing import ToySuite, faulty_environment, toy_environment

SPACE = (ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace"), {})
TOY = WorldConfig(toy_environment(), {}, (SPACE,))
TASK = ToySuite().get("get:apple")
ray_is_there = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'crossagent[ray]'")


def reset_all(pool, seeds):
    return pool.call_many("reset", [(slot, (TASK, seed)) for slot, seed in enumerate(seeds)])


def act_all(pool, slots):
    return pool.call_many("act", [(slot, ("Api: goto(apple)", None)) for slot in slots])


def keeper_of(pool, worker):
    """Return the process id of the actor that keeps a worker."""
    with open(f"/proc/{pool.pids[worker]}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(ray_pool.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crossagent\[ray\]'"):
        RayPool(TOY, 1, 1, timeout_s=5)
    with RayPool(TOY, 0, 1, timeout_s=5) as pool:  # the worlds are in this process
        assert isinstance(reset_all(pool, [5])[0], Started)


@ray_is_there
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the actor's process in /proc")
def test_a_killed_actor_costs_nobodys_episode_for_good():
    with RayPool(TOY, 2, 2, timeout_s=60) as pool, WorkerPool(TOY, 0, 4, timeout_s=60) as here:
        assert reset_all(pool, [5, 6, 7, 8]) == reset_all(here, [5, 6, 7, 8])
        worlds = pool.pids[1]
        os.kill(keeper_of(pool, 1), signal.SIGKILL)
        acted = act_all(pool, [0, 1, 2, 3])
        assert [getattr(a, "kind", "ok") for a in acted] == ["ok", "lost", "ok", "lost"]
        assert all(acted[n].retried and "Ray actor" in acted[n].reason for n in (1, 3))
        assert reset_all(pool, [5, 6, 7, 8]) == reset_all(here, [5, 6, 7, 8])
        assert act_all(pool, [0, 1, 2, 3]) == act_all(here, [0, 1, 2, 3])
        assert pool.restarts == 1
        assert worlds not in pool.pids
        deadline = time.monotonic() + 10  # the worker process ends with the actor that kept it
        while os.path.exists(f"/proc/{worlds}") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not os.path.exists(f"/proc/{worlds}")


@ray_is_there
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the actor's process in /proc")
def test_an_actor_that_answers_no_ping_has_hung(monkeypatch):
    monkeypatch.setattr(ray_pool, "_LOOK_S", 0.5)
    with RayPool(TOY, 1, 1, timeout_s=60) as pool:
        reset_all(pool, [5])
        worker = pool._lines[0].worker
        worker.limits = replace(worker.limits, start_timeout_s=1.5)
        keeper = keeper_of(pool, 0)
        os.kill(keeper, signal.SIGSTOP)
        lost = act_all(pool, [0])[0]
        assert (lost.kind, lost.fault) == ("lost", "infrastructure")
        assert "no sign of life" in lost.reason
        worker.limits = replace(worker.limits, start_timeout_s=120)
        assert isinstance(reset_all(pool, [5])[0], Started)
        assert keeper_of(pool, 0) != keeper


@ray_is_there
@pytest.mark.slow
def test_a_long_call_answers_pings(monkeypatch):
    monkeypatch.setattr(ray_pool, "_LOOK_S", 0.2)
    slow = WorldConfig(faulty_environment(), {"tick_s": 1.0, "seeds": []}, (SPACE,))
    with RayPool(slow, 1, 1, timeout_s=60) as pool:
        reset_all(pool, [5])
        pool._lines[0].worker.limits = replace(pool._lines[0].worker.limits, start_timeout_s=0.9)
        before = time.monotonic()
        assert isinstance(act_all(pool, [0])[0], Acted)
        assert time.monotonic() - before > 1.0


CONFIG = """
from crossagent.envs.world import WorldConfig
from crossagent.plugin import ActionSpaceSpec
from crossagent.testing import ToySuite, toy_environment
space = ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace")
TOY = WorldConfig(toy_environment(), {}, ((space, {}),))
TASK = ToySuite().get("get:apple")
"""


def alone(tmp_path, code):
    """Run code in a process that knows no Ray yet; return the lines it prints."""
    (tmp_path / "tests_config.py").write_text(CONFIG)
    path = os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)])
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=400)
    assert done.returncode == 0, done.stderr
    return [line[2:] for line in done.stdout.splitlines() if line.startswith("= ")]  # Ray prints there too


ALONE = """
import os, signal, sys
from crossagent.envs.workers.ray_pool import RayPool
from tests_config import TOY
signal.signal(signal.SIGTERM, lambda *_: print("= ours", flush=True))
with RayPool(TOY, 1, 1, timeout_s=60) as pool:
    import psutil, ray
    family = psutil.Process().children(recursive=True)
    ports = {(p.name(), c.laddr.ip) for p in family for c in p.net_connections("inet") if c.status == "LISTEN"}
    print('=', sorted({ip for _, ip in ports} - {"127.0.0.1", "::1", "::ffff:127.0.0.1"}), len(ports) > 0)
    print("=", os.environ["RAY_USAGE_STATS_ENABLED"], "torch" in sys.modules)
    os.kill(os.getpid(), signal.SIGTERM)
"""


@ray_is_there
@pytest.mark.slow
def test_a_ray_of_our_own_listens_on_loopback_and_leaves_sigterm_alone(tmp_path):
    assert alone(tmp_path, ALONE) == ["[] True", "0 False", "ours"]


CLUSTER = """
import os, time
from collections import Counter
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
import psutil
from ray.cluster_utils import Cluster
from crossagent.envs.workers.ray_pool import RayPool
from crossagent.envs.workers.pool import WorkerPool
from tests_config import TASK, TOY

small = {"num_cpus": 1, "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
other = cluster.add_node(**small)
os.environ["RAY_ADDRESS"] = cluster.address

def reset(pool):
    return pool.call_many("reset", [(slot, (TASK, seed)) for slot, seed in enumerate((5, 6, 7, 8))])

def act(pool):
    return pool.call_many("act", [(slot, ("Api: goto(apple)", None)) for slot in range(4)])

def machine(pid):
    return psutil.Process(pid).parents()[1].pid  # worker, its actor, its machine's raylet

with RayPool(TOY, 4, 1, timeout_s=60) as pool, WorkerPool(TOY, 0, 4, timeout_s=60) as here:
    machines = [machine(pid) for pid in pool.pids]
    there = next(node for node in machines if node == other.all_processes["raylet"][0].process.pid)
    print('=', sorted(Counter(machines).values()), reset(pool) == reset(here))
    lost = [pid for pid, node in zip(pool.pids, machines) if node == there]
    cluster.remove_node(other, allow_graceful=False)
    deadline = time.monotonic() + 60
    while any(map(psutil.pid_exists, lost)) and time.monotonic() < deadline:
        time.sleep(0.2)
    kinds = [getattr(answer, "kind", "ok") for answer in act(pool)]
    print('=', kinds == ["lost" if node == there else "ok" for node in machines])
    print('=', reset(pool) == reset(here), act(pool) == act(here), pool.restarts >= 2, there in map(machine, pool.pids))
"""


@ray_is_there
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="two machines on one, which Ray offers on Linux")
def test_workers_are_spread_over_a_cluster_and_a_lost_machine_is_made_up_for(tmp_path):
    assert alone(tmp_path, CLUSTER) == ["[2, 2] True", "True", "True True True False"]
