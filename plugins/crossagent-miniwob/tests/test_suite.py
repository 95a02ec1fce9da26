"""Tasks, names, values and keys: nothing here needs a browser."""

import subprocess
import sys
from collections import Counter

import pytest

from crossagent.plugin import Unavailable
from crossagent_miniwob import browser, fields
from crossagent_miniwob.env import MiniWob
from crossagent_miniwob.experts.plans import PLANS
from crossagent_miniwob.keys import CONTROL, SHIFT, STROKES, TYPED, event
from crossagent_miniwob.page import Hand, _named
from crossagent_miniwob.suite import suite


def test_every_page_of_the_package_is_a_task_once():
    pages = {path.stem for path in (fields.package() / "html" / "miniwob").glob("*.html")}
    tasks = suite().tasks()
    assert len(tasks) >= 100
    assert Counter(task.setup["page"] for task in tasks) == Counter(pages)
    assert all(task.name == f"miniwob:{task.setup['page']}" for task in tasks)


def test_what_is_trained_can_be_shown_and_what_is_wide_cannot():
    by_split = {
        split: {t.setup["page"] for t in suite().tasks() if split in t.splits}
        for split in ("train", "demo", "ood", "wide")
    }
    assert sum(map(len, by_split.values())) == len(suite().tasks())
    assert len(by_split["train"]) >= 30
    assert by_split["train"] | by_split["demo"] | by_split["ood"] == set(PLANS)


def test_listing_tasks_needs_neither_browser_nor_pages():
    code = (
        "import sys; from crossagent_miniwob.suite import suite; import crossagent_miniwob.env; suite().tasks();"
        "print(sorted({'torch', 'selenium', 'gymnasium', 'miniwob'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"observation": "smell"}, "observation: got 'smell'"),
        ({"camera_quantum": 3, "camera_limit": 80}, "camera_quantum, camera_limit: got 3, 80"),
        ({"elements": 0}, "elements: got 0"),
        ({"data": "validation"}, "data: got 'validation'"),
    ],
)
def test_a_wrong_option_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        MiniWob(**options)


@pytest.fixture
def fresh_search():
    browser.chromium.cache_clear()
    fields.package.cache_clear()
    yield
    browser.chromium.cache_clear()
    fields.package.cache_clear()


def test_without_chromium_one_line_says_how_to_get_it(monkeypatch, fresh_search):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv(browser.CHOSEN, raising=False)
    with pytest.raises(Unavailable, match=r"needs Chromium, and none of chromium, .* apt-get install chromium"):
        MiniWob()
    monkeypatch.setenv(browser.CHOSEN, "/nonexistent/chrome")
    with pytest.raises(Unavailable, match=r"CROSSAGENT_CHROMIUM=/nonexistent/chrome is no program"):
        MiniWob()


def test_without_the_pages_one_line_says_how_to_get_them(monkeypatch, fresh_search):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"pip install 'miniwob>=1\.1'"):
        fields.package()


def test_values_come_by_the_packages_own_names():
    told = 'Enter the username "karrie" and the password "MsmX" into the text fields and press login.'
    assert fields.fields("login-user", told) == {"username": "karrie", "password": "MsmX"}
    assert (
        fields.fields("daily-calendar", 'Create a 1 hour event named "Tea", between 8AM and 2PM.')["between_from"]
        == "8AM"
    )
    assert fields.fields("no-such-page", 'Say "this" and "that"') == {"quote_1": "this", "quote_2": "that"}


def test_every_printable_character_can_be_typed_by_a_key_the_spaces_can_name():
    import re

    assert {chr(c) for c in range(32, 127)} <= set(TYPED)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._]*", name) for name in STROKES)
    assert list(STROKES) == sorted(STROKES)
    assert STROKES["A"].keys == (SHIFT, "a")
    assert event("a", True, (SHIFT, "a"))["text"] == "A"
    assert event("a", True, (CONTROL, "a"))["commands"] == ["selectAll"]
    assert "text" not in event("a", True, (CONTROL, "a"))


def test_two_clicks_soon_after_each_other_at_one_place_are_a_double_click():
    from crossagent.plugin import RawTick

    def counts(pause, move):
        hand, seen = Hand(), []
        for raw in [RawTick((), ("left",)), RawTick(), *[RawTick()] * pause, RawTick((), ("left",), (move, 0))]:
            seen += [p["clickCount"] for _, p in hand.act(raw) if p["type"] == "mousePressed"]
        return seen

    assert counts(0, 0) == [1, 2]
    assert counts(20, 0) == [1, 1]
    assert counts(0, 9) == [1, 1]


def test_names_are_unique_and_what_is_acted_on_gets_the_plain_one():
    item = {
        "text": "",
        "w": 9,
        "h": 9,
        "side": "",
        "colour": "",
        "focus": False,
        "off": False,
        "marked": False,
        "rect": [0, 0, 9, 9],
    }
    said = [
        {**item, "kind": "label", "label": "User name"},
        {**item, "kind": "field", "label": "User name"},
        {**item, "kind": "cell", "label": "12"},
        {**item, "kind": "rect", "label": "", "colour": "red"},
        {**item, "kind": "rect", "label": "", "colour": "#123456"},
        {**item, "kind": "button", "label": "Ok"},
        {**item, "kind": "button", "label": "ok 2"},
        {**item, "kind": "button", "label": "OK!"},
    ]
    assert [e.name for e in _named(said)] == [
        "user_name_2",
        "user_name",
        "cell_12",
        "red_rect",
        "rect",
        "ok",
        "ok_2",
        "ok_3",
    ]
