"""Connect mode against a stock flying-squid server in a process of its own, in real time."""

import os
import subprocess
import time

import pytest

from crossagent.plugin import BridgeFailed, RawTick
from crossagent_minecraft.node import missing, node, packages, sources
from crossagent_minecraft.suite import suite

pytestmark = pytest.mark.slow
SERVER = os.path.join(os.path.dirname(__file__), "serve.js")


@pytest.fixture
def server():
    if problem := missing():
        pytest.skip(problem)
    process = subprocess.Popen(
        [node(), SERVER, str(sources())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NODE_PATH": str(packages())},
    )
    line = ""
    while not line.startswith("port "):
        line = process.stdout.readline().split("\x1b[1G")[-1]
        assert process.poll() is None
    yield process, int(line.split()[1])
    process.kill()
    process.wait()


def walk_until(env, deadline):
    while time.monotonic() < deadline:
        env.tick(RawTick(("w",)))


def test_a_player_joins_walks_digs_and_sees_what_came_of_it(server, make_world):
    _, port = server
    env = make_world(mode="connect", port=port, skills="full", radius=16)
    observation = env.reset(suite().get("mine_block:grass_block"), 0)
    assert "see" in observation.text
    start = (env.world.body.x, env.world.body.z)
    began = time.monotonic()
    for _ in range(20):
        env.tick(RawTick(("w",)))
    assert time.monotonic() - began > 0.8  # 20 ticks of 50 ms, some of them under way already
    walked = ((env.world.body.x - start[0]) ** 2 + (env.world.body.z - start[1]) ** 2) ** 0.5
    assert 3.0 < walked < 5.0
    for _ in range(10):
        env.tick(RawTick((), (), (0, 60)))  # look at the ground
    assert env.world.crosshair().name == "grass_block"
    for _ in range(60):
        env.tick(RawTick((), ("left",)))
    assert env.success
    assert [e.name for e in env.events if e.kind == "mine_block"] == ["grass_block"]


def test_a_server_that_is_killed_costs_the_episode(server, make_world):
    process, port = server
    env = make_world(mode="connect", port=port, radius=8)
    env.reset(suite().get("mine_block:grass_block"), 0)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    with pytest.raises(BridgeFailed):
        walk_until(env, deadline)


def test_going_back_in_time_is_refused_with_the_reason(server, make_world):
    _, port = server
    env = make_world(mode="connect", port=port, radius=8)
    env.reset(suite().get("mine_block:grass_block"), 0)
    snapshot = env.snapshot()
    env.restore(snapshot)  # nothing has happened since
    env.tick(RawTick())
    with pytest.raises(BridgeFailed, match="cannot go back in time"):
        env.restore(snapshot)


def test_a_server_that_is_not_there_is_named(make_world):
    env = make_world(mode="connect", port=9)
    with pytest.raises(BridgeFailed, match=r"127\.0\.0\.1:9: .*ECONNREFUSED"):
        env.reset(suite().get("mine_block:grass_block"), 0)
