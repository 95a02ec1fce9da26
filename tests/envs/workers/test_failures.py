import math
from dataclasses import replace

import numpy as np
import pytest

from crossagent.envs.workers.failures import FAULTS, RETRIED, Garbage, check_acted, check_observation, failure
from crossagent.envs.workers.pool import EnvFailure, WorkerPool
from crossagent.envs.world import Acted, Started, WorldConfig
from crossagent.plugin import ActionSpaceSpec
from crossagent.testing import ToySuite, faulty_environment, toy_environment
from crossagent.types import Event, Observation

API = (ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace"), {})
TASK = ToySuite().get("get:apple")
FINE = Acted("api", None, "", 3, 0.5, 1.0, "", (Event("get", "apple"),), False, False, False, Observation("a"), "key")


@pytest.fixture(autouse=True)
def _importable_directory(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))


def test_only_the_infrastructures_faults_are_worth_another_try():
    assert set(RETRIED) == {"infrastructure"} < set(FAULTS)
    kinds = {
        kind: failure(kind, "", "t", 1).retried for kind in ("killed", "lost", "refused", "hung", "memory", "raised")
    }
    assert [kind for kind, retried in kinds.items() if retried] == ["killed", "lost", "refused"]


def test_what_a_world_gives_is_checked():
    check_acted(FINE)
    check_observation(Observation("a", np.zeros((2, 3, 3), np.uint8)))
    for bad in (
        {"observation": "text"},
        {"observation": Observation(None)},
        {"observation": Observation("a", np.zeros((2, 3), np.uint8))},
        {"observation": Observation("a", np.zeros((2, 3, 3), np.float32))},
        {"ticks": -1},
        {"ticks": 1.5},
        {"reward": math.nan},
        {"terminated": "no"},
        {"success": None},
        {"anchor_key": 3},
        {"events": ["get apple"]},
    ):
        with pytest.raises(Garbage, match="expected") as caught:
            check_acted(FINE._replace(**bad))
        assert caught.value.fault == "environment"
    with pytest.raises(Garbage) as caught:
        check_acted(FINE._replace(cost=math.inf))
    assert caught.value.fault == "space"


WORLDS = """
from crossagent_api.space import ApiSpace
from crossagent.testing import ToyWorld

class NoSetUp(ToyWorld):
    def reset(self, task, seed):
        raise KeyError("no such biome")

class Breaks(ToyWorld):
    def tick(self, raw):
        return [][raw.camera[0]]
"""
LOST = """
from crossagent.plugin import WorldLost
from crossagent.testing import ToyWorld

class LostAtStart(ToyWorld):
    def reset(self, task, seed):
        raise WorldLost("its server was killed")

class LostInATick(ToyWorld):
    def tick(self, raw):
        raise WorldLost("its server was killed")
"""
SPACES = """
from crossagent_api.space import ApiSpace

class Careless(ApiSpace):
    def __init__(self):
        super().__init__()
        self.executor.execute = lambda action, env: {}["nothing"]

class Calls(ApiSpace):
    def cost(self, action, outcome):
        return 1 / 0
"""


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("world", "space", "fault"),
    [
        ("my_worlds:NoSetUp", None, "task"),
        ("my_worlds:Breaks", None, "environment"),
        (None, "my_spaces:Careless", "space"),
        (None, "my_spaces:Calls", "space"),
    ],
)
def test_the_innermost_frame_of_a_package_says_whose_fault_it_is(tmp_path, workers, world, space, fault):
    (tmp_path / "my_worlds.py").write_text(WORLDS)
    (tmp_path / "my_spaces.py").write_text(SPACES)
    env = toy_environment() if world is None else replace(toy_environment(), factory=world)
    spec = API if space is None else (replace(API[0], factory=space), {})
    with WorkerPool(WorldConfig(env, {}, (spec,)), workers, 1, timeout_s=20) as pool:
        found = pool.call("reset", 0, TASK, 3)
        if fault != "task":
            assert isinstance(found, Started)
            found = pool.call("act", 0, "Api: goto(apple)")
    assert isinstance(found, EnvFailure)
    assert (found.kind, found.fault, found.task, found.seed) == ("raised", fault, "get:apple", 3)
    assert not found.retried


@pytest.mark.parametrize("world", ["LostAtStart", "LostInATick"])
def test_a_world_that_lost_what_it_stands_on_is_worth_another_try(tmp_path, world):
    (tmp_path / "lost_worlds.py").write_text(LOST)
    env = replace(toy_environment(), factory=f"lost_worlds:{world}")
    with WorkerPool(WorldConfig(env, {}, (API,)), 0, 1, timeout_s=20) as pool:
        found = pool.call("reset", 0, TASK, 3)
        if world == "LostInATick":
            found = pool.call("act", 0, "Api: goto(apple)")
    assert (found.kind, found.fault, found.reason) == ("raised", "infrastructure", "WorldLost: its server was killed")
    assert found.retried


def test_garbage_and_a_leak_cost_their_episode(tmp_path):
    def config(**options):
        return WorldConfig(faulty_environment(), options, (API,))

    with WorkerPool(config(fault="garbage", seeds=[6]), 1, 2, timeout_s=20) as pool:
        pool.spread("reset", [(TASK, 5), (TASK, 6)])
        fine, broken = pool.call_many("act", [(0, ("Api: goto(apple)",)), (1, ("Api: goto(apple)",))])
        assert isinstance(fine, Acted)
        assert (broken.kind, broken.fault) == ("garbage", "environment")
        assert "'no observation'" in broken.reason
    with WorkerPool(config(fault="leak", seeds=[6], tick_s=0.1), 1, 2, timeout_s=20, memory_mb=300) as pool:
        pool.spread("reset", [(TASK, 5), (TASK, 6)])
        calls = []
        for turn in range(12):
            thing = f"Api: walk_to({turn % 2 * 8})"
            calls = pool.call_many("act", [(0, (thing,)), (1, (thing,))])
            if any(isinstance(answer, EnvFailure) for answer in calls):
                break
        lost, leaked = calls
        assert (leaked.kind, leaked.fault, leaked.seed) == ("memory", "environment", 6)
        assert "300 MiB" in leaked.reason
        assert (lost.kind, lost.fault, lost.seed) == ("lost", "infrastructure", 5)
        assert isinstance(pool.call("reset", 0, TASK, 5), Started)
        (health,) = pool.health()
    assert health.restarts == 1
    assert 0 < health.memory_mb < 300
