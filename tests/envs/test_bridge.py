"""A process behind a pipe: what it says is believed only while it keeps to the protocol."""

import sys
import time

import pytest

from crossagent.plugin import Bridge, BridgeFailed

CHILD = """
import json, socket, sys, time
pipe = socket.socket(fileno=int(sys.argv[1])).makefile("rw")
def say(line):
    pipe.write(line if isinstance(line, str) else json.dumps(line)); pipe.write("\\n"); pipe.flush()
HELLO
for line in pipe:
    asked = json.loads(line)
    cmd = asked["cmd"]
    if cmd == "echo":
        print("noise on standard output", flush=True)
        say({"id": asked["id"], "said": asked["text"]})
    elif cmd == "refuse":
        say({"id": asked["id"], "error": "not today"})
    elif cmd == "garbage":
        say("<html>")
    elif cmd == "late":
        say({"id": asked["id"] - 1})
    elif cmd == "list":
        say([1])
    elif cmd == "hang":
        time.sleep(60)
    elif cmd == "raise":
        raise RuntimeError("the engine broke")
"""
GREETING = 'say({"hello": "child", "protocol": 3})'


@pytest.fixture
def start():
    made = []

    def make(hello=GREETING, **options):
        words = [sys.executable, "-c", CHILD.replace("HELLO", hello)]
        made.append(
            Bridge(lambda fd: [*words, str(fd)], name="the child", hello="child", protocol=3, **options),
        )
        return made[-1]

    yield make
    for bridge in made:
        bridge.close()
        assert bridge.process.returncode is not None  # no zombie


def test_calls_are_answered_whatever_is_printed(start):
    bridge = start()
    for text in ("one", "zwei ä", "x" * 300_000):
        assert bridge.call("echo", text=text)["said"] == text
    assert bridge.alive


@pytest.mark.parametrize(
    ("cmd", "reason"),
    [
        ("refuse", "refuse: not today"),
        ("garbage", "it said b'<html>', which is no answer"),
        ("list", "which is no answer"),
        ("late", "late: an answer to 0 instead of 1"),
        ("raise", r"it ended \(RuntimeError: the engine broke\)"),
    ],
)
def test_what_breaks_the_protocol_ends_the_process_and_is_named(start, cmd, reason):
    bridge = start()
    with pytest.raises(BridgeFailed, match=f"the child failed: .*{reason}"):
        bridge.call(cmd)
    assert not bridge.alive
    with pytest.raises(BridgeFailed):
        bridge.call("echo", text="again")  # never gone on with


def test_a_process_that_hangs_is_ended_at_the_deadline(start):
    bridge = start()
    bridge.wait()
    began = time.monotonic()
    with pytest.raises(BridgeFailed, match="no answer in 0 s"):
        bridge.call("hang", timeout=0.3)
    assert time.monotonic() - began < 20
    assert not bridge.alive


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ('say({"hello": "child", "protocol": 2})', "expected child of protocol 3, got .*2"),
        ('say({"hello": "stranger", "protocol": 3})', "expected child of protocol 3, got .*stranger"),
        ('say({"error": "no Java"})', "no Java"),
        ("sys.exit(1)", "it ended"),
    ],
)
def test_another_process_than_the_one_expected_is_refused(start, hello, reason):
    with pytest.raises(BridgeFailed, match=reason):
        start(hello).call("echo", text="")


def test_a_program_that_is_not_there_is_an_os_error():
    with pytest.raises(FileNotFoundError):
        Bridge(lambda fd: ["/no/such/program", str(fd)], name="x", hello="x", protocol=1)
