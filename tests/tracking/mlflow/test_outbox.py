"""The spool survives what a process does not: a crash in the middle of a line, another process, another target."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossagent.tracking.mlflow.outbox import Spool, redacted


def contents(spool: Spool, offset: int = 0) -> list[dict[str, object]]:
    return [{k: v for k, v in r.content.items() if k != "t"} for r in spool.records(offset)]


def test_records_come_back_in_order_and_from_any_record_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "tracking")
    for step in range(3):
        spool.append("metrics", "sft", step=step)
    first = next(spool.records())
    assert first.content["t"] > 1.7e12, "milliseconds"
    assert [c["step"] for c in contents(spool)] == [0, 1, 2]
    assert [c["step"] for c in contents(spool, first.end)] == [1, 2]


def test_what_cannot_be_json_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        spool.append("metrics", "", values={"loss": float("nan")})
    assert contents(spool) == []


def test_a_torn_line_is_passed_over_and_what_comes_after_it_is_not(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append("metrics", "", step=1)
    spool.close()
    with open(spool.path, "ab") as file:
        file.write(b'{"t": 1, "op": "met')
    assert [c["step"] for c in contents(spool)] == [1], "a line that is being written is not read"
    again = Spool(tmp_path)
    again.append("metrics", "", step=2)
    assert [c["step"] for c in contents(again)] == [1, 2]


def test_each_target_has_its_own_place_and_no_password_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append("metrics", "", step=1)
    spool.append("metrics", "", step=2)
    uri = "https://me:secret@host:5000/x?token=secret"
    sent = spool.sent(uri)
    sent.offset, sent.runs[""] = next(spool.records()).end, "abc"
    spool.keep_sent(uri, sent)
    assert (spool.pending(uri), spool.pending("sqlite:///a.db")) == (1, 2)
    assert Spool(tmp_path).sent(uri) == sent
    assert "secret" not in (tmp_path / "sent.json").read_text()
    (tmp_path / "sent.json").write_text("{")
    assert spool.pending(uri) == 2, "an unreadable note means: send all of it again"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:secret@host:5000/x?token=secret", "https://host:5000/x"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("sqlite:////tmp/a b/mlflow.db", "sqlite:////tmp/a b/mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_a_uri_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert redacted(uri) == shown


def test_one_process_sends_at_a_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with spool.sending() as first, Spool(tmp_path).sending() as second:
        assert (first, second) == (True, False)
    with spool.sending() as later:
        assert later
