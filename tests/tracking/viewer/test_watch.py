"""The live page's server: what it answers, to whom, and from what state of a run. How it looks: tests/ui."""

import http.client
import json
import os
import shutil
import socket
import threading

import pytest

from crossagent.errors import CrossAgentError, DataError
from crossagent.tracking.viewer.watch import EPISODES, POINTS, Watched, _thinned, serve


@pytest.fixture
def run(made_up, tmp_path):
    shutil.copytree(made_up, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def ask(run):
    server = serve(run, 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    port = server.server_address[1]

    def ask_(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{port}", **headers}.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    ask_.port = port
    yield ask_
    server.shutdown()
    server.server_close()


def test_it_listens_on_loopback_alone(run):
    with serve(run, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.socket.family == socket.AF_INET
        with pytest.raises(CrossAgentError, match=r"cannot listen there .*Fix: --port ANOTHER"):
            serve(run, server.server_address[1])
    with pytest.raises(CrossAgentError, match="--port 70000"):
        serve(run, 70000)


def test_its_three_addresses(ask):
    answer, body = ask("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"made-up" in body
    assert b"connect-src 'self'" in body
    answer, body = ask("/state.json")
    assert json.loads(body)["episodes"]["total"] > 0
    answer, body = ask("/episodes?of=mtrl/1")
    assert answer.status == 200
    assert b"mtrl/1/0.1" in body
    assert b"sft/id-mixed" not in body
    for header in ("X-Content-Type-Options", "X-Frame-Options", "Cross-Origin-Resource-Policy"):
        assert answer.headers[header]
    assert "Python" not in answer.headers["Server"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil:{port}", "", None]
)
@pytest.mark.parametrize("path", ["/", "/state.json", "/episodes?of=mtrl/1"])
def test_another_name_for_this_machine_gets_nothing(ask, host, path):
    """A page whose name has been made to point here (DNS rebinding) still says its own name."""
    answer, body = ask(path, Host=host and host.format(port=ask.port))
    assert answer.status in (400, 403)
    assert b"made-up" not in body


def test_two_names_at_once_get_nothing(ask):
    with socket.create_connection(("127.0.0.1", ask.port), 5) as raw:
        raw.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{ask.port}\r\nHost: evil.example\r\n\r\n".encode())
        assert b" 403 " in raw.recv(100)


def test_localhost_is_a_name_of_this_machine(ask):
    assert ask("/", Host=f"LocalHost:{ask.port}")[0].status == 200


def test_a_tunnel_from_another_machine_may_have_a_port_of_its_own(ask):
    """``ssh -L 9000:127.0.0.1:8707``: the browser names port 9000."""
    assert ask("/", Host="localhost:9000")[0].status == 200
    assert ask("/", Host="127.0.0.1:9000")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_only_get(ask, method):
    assert ask("/", method)[0].status == 405


def test_head_is_get_without_its_body(ask):
    answer, body = ask("/state.json", "HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 100


@pytest.mark.parametrize(
    "path",
    [
        "/../recipe.yaml",
        "/recipe.yaml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/state.json/",
        "/episodes",
        "/episodes?of=../../../etc/passwd",
        "/episodes?of=/etc/passwd",
        "/episodes?of=mtrl/2",
        "/favicon.ico",
    ],
)
def test_no_path_leads_to_a_file(ask, path):
    answer, body = ask(path)
    assert answer.status == 404
    assert b"run_name" not in body
    assert b"root:" not in body
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_what_has_not_changed_is_not_sent_again(ask, run):
    first, _ = ask("/state.json")
    again, body = ask("/state.json", If_None_Match=first.headers["ETag"])
    assert (again.status, body) == (304, b"")
    with (run / "mtrl/metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "rollout/success": 0.9}\n')
    again, body = ask("/state.json", If_None_Match=first.headers["ETag"])
    assert again.status == 200
    assert json.loads(body)["stages"][2]["metrics"]["rollout/success"][-1] == [9, 0.9]


def test_a_run_that_has_only_begun(tmp_path):
    (tmp_path / "recipe.yaml").write_text("stages: [sft, mtrl]\nspaces: {api: {}}\n")
    state = Watched(tmp_path).state()
    assert [s["status"] for s in state["stages"]] == ["waiting"] * 3
    assert state["episodes"] == {"which": "", "total": 0, "rows": []}
    assert not state["complete"]
    assert not state["problem"]
    with pytest.raises(DataError, match="not a run"):
        Watched(tmp_path / "none")


def test_stages_evaluations_and_the_end(run):
    cell = {"success": 0.5, "ci95": [0.2, 0.8], "return": 0.4, "episodes": 6, "shares": {}}
    steps = {"untrained/train": {}, "untrained/eval": {"cells": {"id": {"mixed": cell}}}, "sft/train": {}}
    (run / "state.json").write_text(json.dumps({"steps": steps}))
    state = Watched(run).state()
    assert [(s["name"], s["status"]) for s in state["stages"]] == [
        ("untrained", "evaluated"), ("sft", "trained"), ("mtrl", "training"),
    ]  # fmt: skip
    assert state["stages"][2]["step"] == 8
    assert state["evaluations"] == [
        {
            "stage": "untrained",
            "suite": "id",
            "agent": "mixed",
            "success": 0.5,
            "ci95": [0.2, 0.8],
            "return": 0.4,
            "episodes": 6,
        }
    ]
    (run / "state.json").write_text(json.dumps({"steps": {**steps, "summary": {}}}))
    assert Watched(run).state()["complete"]


def test_the_newest_file_is_shown_and_a_damaged_one_named(run):
    watched = Watched(run)
    for name, when in (("sft/trajectories/evaluation-ood-mixed", 1), ("sft/trajectories/evaluation-id-mixed", 2), ("mtrl/trajectories/step-000001", 3)):  # fmt: skip
        os.utime(run / f"{name}.parquet", (when, when))
    shown = watched.state()["episodes"]
    assert (shown["which"], shown["total"]) == ("mtrl/1", 5)
    assert shown["rows"][0]["spaces"] == ["api", "gui", "control"]
    assert shown["rows"][0]["return"] == pytest.approx(-0.17)
    assert shown["rows"][0]["said"].startswith("Action:")
    os.utime(run / "sft/trajectories/evaluation-ood-mixed.parquet", (9, 9))
    shown = watched.state()["episodes"]
    assert (shown["which"], shown["total"], len(shown["rows"])) == ("sft/ood-mixed", 60, EPISODES)
    path = run / "mtrl/trajectories/step-000001.parquet"
    path.write_bytes(path.read_bytes()[:100])
    state = watched.state()
    assert "step-000001.parquet: not a parquet file, or cut short" in state["problem"]
    assert state["stages"][2]["metrics"], "the curves are shown all the same"


def test_a_file_that_has_not_changed_is_not_read_again(run, monkeypatch):
    """The page asks every two seconds, on the machine that trains."""
    from crossagent.tracking.viewer import watch

    watched, read = Watched(run), []
    first = watched.state()
    monkeypatch.setattr(watch, "read_metrics", lambda path: read.append(path) or {})
    monkeypatch.setattr(watched.catalogue, "load", lambda *_: read.append("trajectories") or [])
    assert watched.state() == first
    assert read == []
    os.utime(run / "mtrl/metrics.jsonl", (5, 5))
    assert watched.state() != first
    assert read == [run / "mtrl/metrics.jsonl"]


def test_long_curves_are_thinned_and_keep_their_ends():
    points = [(k, float(k)) for k in range(5 * POINTS)]
    thin = _thinned(points)
    assert len(thin) == POINTS
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert _thinned(points[:POINTS]) == points[:POINTS]
