"""What breaks costs its episode and nothing more; nothing of a browser is left behind; nothing leaves the machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.plugin import WorldLost
from crossagent.registry.plugin_set import load_plugins
from crossagent_miniwob import browser
from crossagent_miniwob.browser import BrowserFailed, close_shared


def family(pid):
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def gone(processes, within=10.0):
    return not psutil.wait_procs(processes, timeout=within)[1]


def test_a_killed_browser_costs_its_episodes_and_the_next_begins_in_another(make_world, task):
    first, second = make_world(), make_world()
    for env in (first, second):
        env.reset(task("click-test"), 0)
    old = first._page._tab.browser
    processes = family(old.process.pid)
    os.kill(old.process.pid, signal.SIGKILL)
    for env in (first, second):
        with pytest.raises(WorldLost):  # so that these episodes are begun again
            env.interface("skills").call("click", "click_me")
    assert gone(processes)
    assert not Path(old._profile).exists()
    for env in (first, second):
        env.reset(task("click-test"), 0)
        env.interface("skills").call("click", "click_me")
        assert env.success


def test_a_pool_whose_browser_is_killed_says_so_and_heals(make_world, task):
    make_world()  # skips without Chromium
    plugins = load_plugins()
    config = WorldConfig(env=plugins.environment("miniwob"), spaces=((plugins.space("api"), {}),))
    with WorkerPool(config, workers=1, worlds_per_worker=2, timeout_s=60) as pool:
        pool.call_many("reset", [(0, (task("click-test"), 0)), (1, (task("click-test"), 0))])
        (engine,) = [p for p in psutil.Process(pool.pids[0]).children() if "--headless" in p.cmdline()]
        engine.kill()
        lost = pool.call_many("act", [(0, ("Api: click(click_me)",)), (1, ("Api: click(click_me)",))])
        assert [(failure.fault, failure.retried) for failure in lost] == [("infrastructure", True)] * 2
        assert pool.restarts == 0
        pool.call_many("reset", [(0, (task("click-test"), 0)), (1, (task("click-test"), 0))])
        done = pool.call_many("act", [(0, ("Api: click(click_me)",)), (1, ("Api: click(click_me)",))])
        assert all(acted.success for acted in done)
        processes = [p for pid in pool.pids for p in family(pid)]
    assert gone(processes)


def test_a_page_that_hangs_is_given_up_and_its_neighbour_goes_on(make_world, task, monkeypatch):
    monkeypatch.setattr(browser.Browser.result, "__defaults__", (1.0,))
    hung, neighbour = make_world(), make_world()
    for env in (hung, neighbour):
        env.reset(task("click-test"), 0)
    hung._page._tab.evaluate("setTimeout(() => { for (;;); }, 10)")
    with pytest.raises(BrowserFailed, match="the page hangs"):
        hung._page._tab.browser.result(
            hung._page._tab.browser.send("Runtime.evaluate", hung._page._tab.session, expression="crossagent.tick(50)"),
            1.0,
        )
    hung.close()
    neighbour.interface("skills").call("click", "click_me")
    assert neighbour.success
    hung.reset(task("click-test"), 0)
    hung.interface("skills").call("click", "click_me")
    assert hung.success


def test_a_page_that_crashes_is_given_up(make_world, task):
    env = make_world()
    env.reset(task("click-test"), 0)
    tab = env._page._tab
    tab.browser.send("Page.crash", tab.session)
    with pytest.raises(BrowserFailed, match="crashed"):
        tab.evaluate("1")
    env.close()
    env.reset(task("click-test"), 0)
    assert "click_me" in env.observe().text


def test_garbage_from_the_browser_is_a_failure(make_world, task):
    env = make_world()
    env.reset(task("click-test"), 0)
    env._page._tab.browser._rest = b"{nonsense"
    with pytest.raises(BrowserFailed, match="which is no message"):
        env.interface("control").step()


def test_a_page_that_says_nonsense_is_a_failure(make_world, task):
    env = make_world()
    env.reset(task("click-test"), 0)
    env._page._tab.evaluate("core.getUtterance = () => { throw new Error('none of your business') }")
    env._view = None
    with pytest.raises(BrowserFailed, match="the page raised Error: none of your business"):
        env.observe()


@pytest.mark.parametrize("how", ["exit", "SIGKILL", "SIGTERM"])
def test_no_browser_outlives_its_process(make_world, tmp_path, how):
    make_world()  # skips without Chromium
    code = (
        "import os, signal, sys, time\n"
        "from crossagent_miniwob.env import MiniWob\n"
        "from crossagent_miniwob.suite import suite\n"
        "env = MiniWob(); env.reset(suite().get('miniwob:click-test'), 0)\n"
        "print(env._page._tab.browser.process.pid, env._page._tab.browser._profile, flush=True)\n"
        f"how = {how!r}\n"
        "how == 'exit' or os.kill(os.getpid(), getattr(signal, how))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, process_group=0)
    pid, profile = child.stdout.readline().split()
    processes = family(int(pid))
    child.wait(timeout=30)
    child.stdout.close()
    assert gone(processes)
    if how != "exit":  # nobody was left to remove it: the next browser does
        browser._remove_left_behind()
    assert not Path(profile).exists()


def test_nothing_can_be_fetched_not_even_from_this_machine(make_world, task):
    env = make_world()
    env.reset(task("click-test"), 0)
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2.0)

        def listen():
            with contextlib.suppress(TimeoutError):
                heard.append(server.accept()[1])

        thread = threading.Thread(target=listen)
        thread.start()
        port = server.getsockname()[1]
        for address in (f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", "http://example.org/"):
            said = env._page._tab.evaluate(
                f"fetch({address!r}, {{mode: 'no-cors'}}).then(() => 'fetched', () => 'refused')"
            )
            assert said == "refused"
        thread.join()
    assert heard == []


def test_many_episodes_leave_no_tab_and_no_growth(make_world, task):
    env = make_world()
    for seed in range(25):
        env.reset(task("click-test-2"), seed)
    engine = env._page._tab.browser
    targets = engine.call("Target.getTargets")["targetInfos"]
    assert sum(t["type"] == "page" for t in targets) <= 2  # the one Chromium begins with, and ours
    assert len(engine._answers) == 0
    env.close()
    time.sleep(0.2)
    assert sum(t["type"] == "page" for t in engine.call("Target.getTargets")["targetInfos"]) <= 1
    close_shared()
    assert not engine.alive
