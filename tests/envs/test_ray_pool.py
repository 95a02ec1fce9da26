"""What is Ray's own in a pool of Ray workers; the contract that it shares is in ``test_worker.py``."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import pytest

from crossagent.envs import ray_pool
from crossagent.envs.ray_pool import RayPool
from crossagent.envs.worker import WorkerPool
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


ALONE = """
import os, signal, sys
from crossagent.envs.ray_pool import RayPool
from tests_config import TOY
signal.signal(signal.SIGTERM, lambda *_: print("ours", flush=True))
with RayPool(TOY, 1, 1, timeout_s=60) as pool:
    import psutil, ray
    family = psutil.Process().children(recursive=True)
    ports = {(p.name(), c.laddr.ip) for p in family for c in p.net_connections("inet") if c.status == "LISTEN"}
    print(sorted({ip for _, ip in ports} - {"127.0.0.1", "::1", "::ffff:127.0.0.1"}), len(ports) > 0)
    print(os.environ["RAY_USAGE_STATS_ENABLED"], "torch" in sys.modules)
    os.kill(os.getpid(), signal.SIGTERM)
"""


@ray_is_there
@pytest.mark.slow
def test_a_ray_of_our_own_listens_on_loopback_and_leaves_sigterm_alone(tmp_path):
    (tmp_path / "tests_config.py").write_text(
        "from crossagent.envs.world import WorldConfig\nfrom crossagent.plugin import ActionSpaceSpec\n"
        "from crossagent.testing import toy_environment\n"
        "space = ActionSpaceSpec('api', '1', ('skills',), 'Api:', 'crossagent_api.space:ApiSpace')\n"
        "TOY = WorldConfig(toy_environment(), {}, ((space, {}),))\n"
    )
    path = os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)])
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[] True", "0 False", "ours"]
