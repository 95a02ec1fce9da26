"""What the viewer's file holds, read as a browser reads it. How it looks: tests/ui."""

import base64
import gzip
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from made_up import ATTACK, CLOSING, evaluation

from crossagent.rollout.store import save_trajectories
from crossagent.tracking.viewer.catalogue import Catalogue
from crossagent.tracking.viewer.page import page, write_page


class Reader(HTMLParser):
    """Collects elements, and the text of scripts and styles by id or tag."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.policy, self.raw, self.addresses, self._in = [], "", {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "action")]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        self._in = found.get("id") or found.get("type") or tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in:
            self.raw[self._in] = self.raw.get(self._in, "") + data


def unpack(text):
    return json.loads(gzip.decompress(base64.b64decode(text)))


@pytest.fixture(scope="module")
def written(made_up, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "viewer.html"
    assert write_page(made_up, out, 1000) == (70, 70)
    return Reader(out.read_text())


def test_one_file_that_needs_nothing_else(written):
    assert written.addresses == ["data:,"]
    assert "http" not in re.sub(r"[A-Za-z0-9+/=]{200,}", "", "".join(written.raw.values())), (
        "no address of anything outside"
    )
    for name, kind in (("module", "script"), ("style", "style")):
        digest = base64.b64encode(hashlib.sha256(written.raw[name].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in written.policy
    assert written.policy.startswith("default-src 'none'")
    assert "connect-src 'none'" in written.policy
    assert "unsafe" not in written.policy


def test_nothing_that_a_run_says_becomes_markup(written):
    chunks = [name for name in written.raw if name.startswith("chunk-")]
    assert written.tags.count("script") == len(chunks) + 200 + 4, "groups, images, index, tokens, said, and the script"
    assert "img" not in written.tags
    index = json.loads(written.raw["index"])
    evil = next(row for row in index["rows"] if row["name"] == "sft/id-mixed/0.0")
    assert evil["task"] == ATTACK
    assert evil["instruction"] == ATTACK + CLOSING
    (one,) = unpack(written.raw[f"chunk-{evil['chunk']}"])
    assert one["turns"][0]["text"] == CLOSING


def test_a_title_is_escaped_and_markers_in_data_stay(made_up, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(made_up, run)
    (run / "recipe.yaml").write_text("run_name: '<b>{{script}}</b>'\nstages: [sft, mtrl]\n")
    text = page(Catalogue(run), [], 0)
    assert "<title>&lt;b&gt;{{script}}&lt;/b&gt;" in text
    assert "b" not in Reader(text).tags


def test_every_turn_is_there_as_it_was_stored(written):
    index = json.loads(written.raw["index"])
    row = next(row for row in index["rows"] if row["name"] == "sft/id-mixed/1.0")
    assert (row["turns"], row["success"], row["ending"]) == (200, True, "terminated")
    assert row["spaces"] == ["api", "gui", "control"]
    assert row["cost"] == pytest.approx(67 * 0.1 + 67 * 0.05 + 66 * 0.02)
    (one,) = unpack(written.raw[f"chunk-{row['chunk']}"])
    stored = evaluation()[1]
    before: list[int] = []
    for turn, want in zip(one["turns"], stored.turns, strict=True):
        prompt = before[: turn["shared"]] + turn["prompt"]
        assert prompt == list(want.prompt_ids)
        assert len(turn["prompt"]) == 6, "what the turn before holds is not written again"
        before = prompt + turn["response"]
        assert turn["response"] == list(want.response_ids)
        assert turn["logprobs"] == pytest.approx(want.sampler_logprobs, abs=1e-4)
        assert base64.b64decode(written.raw[f"image-{turn['image']}"]) == want.image
    assert one["seed"] == str(stored.seed), "as text: 64 bits do not fit JavaScript's numbers"
    texts = unpack(written.raw["tokens"])
    assert texts[str(stored.turns[0].response_ids[0])] == "Api:"
    said = unpack(written.raw["said"])
    assert said[[r["name"] for r in index["rows"]].index("mtrl/1/0.0")].count("out of reach") == 1


def test_training_s_numbers_are_there_where_it_trained(written):
    index = json.loads(written.raw["index"])
    chunk = next(row["chunk"] for row in index["rows"] if row["name"] == "mtrl/1/0.1")
    members = unpack(written.raw[f"chunk-{chunk}"])
    assert [m["name"] for m in members] == ["mtrl/1/0.0", "mtrl/1/0.1", "mtrl/1/0.2"]
    turn = members[1]["turns"][0]
    assert turn["advantage"] == 0.75
    assert turn["trains"] == [1] * 7
    assert [round(o - r, 3) for o, r in zip(turn["old"], turn["ref"], strict=True)] == [
        0.0,
        0.3,
        0.6,
        0.9,
        1.2,
        1.5,
        1.8,
    ]
    lost = unpack(written.raw[f"chunk-{chunk + 1}"])[0]["turns"][0]
    assert (lost["advantage"], lost["trains"]) == (None, [])


def test_the_same_run_gives_the_same_bytes(made_up, tmp_path):
    write_page(made_up, tmp_path / "a.html", 30)
    write_page(made_up, tmp_path / "b.html", 30)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_numbers_that_are_not_finite_do_not_break_the_file(made_up, tmp_path):
    from dataclasses import replace

    run = tmp_path / "run"
    shutil.copytree(made_up, run)
    (one, *_) = evaluation()
    odd = replace(one.turns[0], sampler_logprobs=(float("-inf"), float("nan"), 0.0, -1.0), reward=float("inf"))
    save_trajectories(run / "sft/trajectories/evaluation-id-mixed.parquet", [replace(one, turns=(odd,))])
    write_page(run, tmp_path / "viewer.html", 1000)
    raw = Reader((tmp_path / "viewer.html").read_text()).raw
    assert unpack(raw["chunk-0"])[0]["turns"][0]["logprobs"] == [None, None, 0.0, -1.0]
