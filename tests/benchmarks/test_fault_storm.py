"""A smaller storm than that of benchmarks/fault_storm.py, with every check but those of time."""

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks/fault_storm.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("fault_storm", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fault_storm"] = module
    spec.loader.exec_module(module)
    return module


def test_a_storm_costs_what_it_strikes_and_nothing_else(bench):
    row = bench.storm(48, 0.06, workers=4, worlds=2, tick_s=0.005, timeout_s=3.0, seed=3)
    assert bench.complaints(row) == []
    assert sum(count > 0 for count in row["struck"].values()) >= 4, "a storm of several kinds"
    assert row["attempted"] == 48
    assert row["restarts"] > 0
    assert row["retried"] > 0
    dropped, struck = row["dropped"], row["struck"]
    assert dropped.get("raised", 0) == struck["raise"]
    assert dropped.get("garbage", 0) == struck["garbage"]
    assert dropped.get("exited", 0) == struck["exit"]
    assert dropped.get("killed", 0) == struck["kill"]
    assert dropped.get("hung", 0) + dropped.get("memory", 0) >= struck["hang"]
    assert dropped.get("lost", 0) == 0, "the innocent are played to their end"
    # A leak that stays below the limit until its episode ends finishes.
    assert sum(struck.values()) - struck["leak"] <= sum(dropped.values()) <= sum(struck.values())


def test_the_checks_find_what_is_wrong(bench):
    fine = {"attempted": 3, "finished": 2, "dropped": {"hung": 1}, "mixed": 0, "processes_left": 0}
    assert bench.complaints(fine) == []
    for change in ({"finished": 1}, {"mixed": 1}, {"processes_left": 1}):
        assert len(bench.complaints({**fine, **change})) == 1
