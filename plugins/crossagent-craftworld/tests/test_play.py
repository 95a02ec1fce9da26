"""``crossagent play craftworld`` without a browser: what a message does, and whom the server obeys."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator

import pytest

from crossagent_craftworld import play
from crossagent_craftworld.play.server import serve
from crossagent_craftworld.play.session import Session

TASK = "mine_block:oak_log"


@pytest.fixture
def game() -> Iterator[tuple[Session, int, str]]:
    """A session, its port and its secret."""
    session = Session(TASK, 3)
    server = serve(session, 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    port = server.server_address[1]
    page = ask(port, "GET", "/")[1].decode()
    yield session, port, re.search(r'name="token" content="([\w-]{20,})"', page)[1]
    server.shutdown()
    server.server_close()


def ask(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    line.request(method, path, body or None, headers or {})
    answer = line.getresponse()
    out = answer.status, answer.read(), dict(answer.getheaders())
    line.close()
    return out


def said(body: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(body[:4], "little")
    return json.loads(body[4 : 4 + length]), body[4 + length :]


def own(port: int, token: str, **more: str) -> dict[str, str]:
    return {
        "Origin": f"http://127.0.0.1:{port}",
        "X-CrossAgent-Token": token,
        "Content-Type": "application/json",
        **more,
    }


def test_a_message_is_ticks_and_the_answer_a_picture(game):
    _, port, token = game
    status, body, _ = ask(port, "POST", "/act", b'{"ticks": 0}', own(port, token))
    state, picture = said(body)
    assert status == 200
    assert (state["task"], state["tick"], state["window"]) == (TASK, 0, None)
    assert len(picture) == 640 * 360 * 3
    state, after = said(ask(port, "POST", "/act", b'{"keys": ["e"], "ticks": 1}', own(port, token))[1])
    assert (state["window"], state["tick"]) == ("inventory", 1)
    assert picture != after
    state, _ = said(ask(port, "POST", "/act", b'{"camera": [40, -30], "ticks": 2}', own(port, token))[1])
    assert state["cursor"] == [360, 150]
    assert state["tick"] == 3
    state, again = said(
        ask(port, "POST", "/reset", json.dumps({"task": TASK, "seed": 3}).encode(), own(port, token))[1]
    )
    assert again == picture
    assert state["tick"] == 0


@pytest.mark.parametrize("missing", ["Origin", "X-CrossAgent-Token", "Content-Type"])
def test_only_its_own_page_may_play(game, missing):
    session, port, token = game
    headers = own(port, token)
    del headers[missing]
    assert ask(port, "POST", "/act", b'{"ticks": 1}', headers)[0] == 403
    for wrong in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"X-CrossAgent-Token": "x" * 32}):
        assert ask(port, "POST", "/act", b'{"ticks": 1}', own(port, token, **wrong))[0] == 403
    assert len(session._env.tick_log) == 0


def test_it_answers_to_this_machine_only(game):
    _, port, token = game
    for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.evil.example"):
        for method, path in (("GET", "/"), ("POST", "/act")):
            assert ask(port, method, path, b"", {"Host": host})[0] == 403
    status, body, headers = ask(port, "GET", "/", headers={"Host": f"localhost:{port}"})
    assert status == 200
    assert token.encode() in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert ask(port, "GET", "/../session.py")[0] == 404
    assert ask(port, "GET", "/play.js")[0] == 200
    assert TASK in json.loads(ask(port, "GET", "/tasks.json")[1])


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/act", b'{"keys": "e"}', "keys: got 'e'; expected a list of 1, 2"),
        ("/act", b'{"keys": ["rm"]}', "keys: got"),
        ("/act", b'{"buttons": [1]}', "expected a list of left, right"),
        ("/act", b'{"camera": [1e9, 0]}', "camera: got"),
        ("/act", b'{"camera": [NaN, 0]}', "camera: got"),
        ("/act", b'{"ticks": 10000}', "ticks: got"),
        ("/act", b"[1]", "expected an object"),
        ("/act", b"{", "Expecting property name"),
        ("/act", b"[" * 4000, ""),
        ("/reset", b'{"task": "nope"}', "there is none of this name"),
        ("/reset", b'{"task": 5}', "expected a task's name"),
        ("/reset", b'{"task": "x", "seed": "y"}', "expected a task's name"),
    ],
)
def test_a_wrong_message_is_refused_in_words_and_changes_nothing(game, path, body, words):
    session, port, token = game
    before = session._env.state_hash()
    status, answer, _ = ask(port, "POST", path, body, own(port, token))
    assert status == 400
    assert words in answer.decode()
    assert session._env.state_hash() == before


def test_a_large_message_is_not_read(game):
    _, port, token = game
    assert ask(port, "POST", "/act", b" " * 5000, own(port, token))[0] == 413
    assert ask(port, "POST", "/elsewhere", b"{}", own(port, token))[0] == 404


def test_the_command_refuses_with_one_line(capsys):
    for words, message in (
        (["craftworld", "--task", "nope"], "--task nope: there is none of this name"),
        (["craftworld", "--option", "x"], "--option x: expected KEY=VALUE"),
        (["craftworld", "--option", "width=5"], "width: got 5; expected"),
        (["craftworld", "--option", "colour=5"], "colour"),
        (["craftworld", "--port", "99999999"], "--port 99999999: cannot listen there"),
    ):
        assert play.main(words) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    with pytest.raises(SystemExit) as exit_:
        play.main(["minecraft"])
    assert exit_.value.code == 2
