"""A space and a world that were typed into a script: workers, which know nothing of it, build them all the same."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SCRIPT = '''
from dataclasses import replace

from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.plugin import Call
from crossagent.registry.plugin_set import PluginSet
from crossagent.testing import GenericSpace, ToySuite, ToyWorld, toy_environment
from crossagent.testing.toy_tasks import SkillsExpert

STEPS = 2


class Wide(ToyWorld):
    """Longer by what the script says."""

    def __init__(self):
        super().__init__(cells=12 + STEPS)


class Walk(GenericSpace):
    """Uses a global of the script too."""

    def cost(self, action, outcome):
        return outcome.ticks / STEPS


walk = Walk("walk", {"east": [Call("control", "step", (("d",), (), (0, 0)))] * STEPS})
world = replace(toy_environment(), factory=Wide, suite=ToySuite, experts={"skills": SkillsExpert})
plugins = PluginSet().with_(space=walk, environment=world)

if __name__ == "__main__":
    config = WorldConfig(env=plugins.environment("toy"), spaces=((plugins.space("walk"), {}),))
    for workers in (0, 1):
        with WorkerPool(config, workers, 1, 30.0) as pool:
            pool.call("reset", 0, ToySuite().get("get:apple"), 0)
            acted = pool.call("act", 0, "Walk: east")
            print(workers, acted.ticks, acted.cost, pool.describe().fragments["walk"])
'''


def test_workers_build_what_was_typed_into_a_script(python: Run, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = python("script.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 2 1.0 Walk: east\n1 2 1.0 Walk: east\n"


def test_a_config_of_names_is_pickled_as_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    import cloudpickle

    from crossagent.envs.workers.process import dump_config
    from crossagent.envs.world import WorldConfig
    from crossagent.testing import toy_environment

    monkeypatch.setattr(cloudpickle, "dumps", None)
    assert pickle.loads(dump_config(WorldConfig(env=toy_environment()))).env == toy_environment()
