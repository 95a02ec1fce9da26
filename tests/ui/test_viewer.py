"""The viewer in Chromium: what it shows, with mouse and with keys alone. Every test also fails on a console message."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up import ATTACK, CLOSING

from crossagent.tracking.viewer.page import write_page

Open = Callable[..., "Page"]  # noqa: F821


def shows(page, selector: str, text: str) -> None:
    """Wait for a text; the page's policy forbids what Playwright's ``wait_for_function`` does."""
    page.locator(selector, has_text=re.compile(f"^{re.escape(text)}$")).wait_for(timeout=4000)


def options(page, name: str) -> list[str]:
    return page.eval_on_selector_all(f"#f-{name} option", "all => all.map((o) => o.textContent)")


def at(name: str, turn: int = 1) -> str:
    return f"#{name}@{turn}"


def test_filters_narrow_the_list_and_reset_widens_it(open_page: Open, viewer: str) -> None:
    page = open_page(viewer)
    assert page.inner_text("#count") == "70 of 70"
    assert options(page, "stage") == ["all", "sft (65)", "mtrl (5)"]
    assert options(page, "which") == ["all", "id-mixed (5)", "ood-mixed (60)", "step 1 (5)"]
    assert "api (25)" in options(page, "space")
    page.select_option("#f-stage", "=mtrl")
    assert page.inner_text("#count") == "5 of 70"
    page.select_option("#f-success", "=success")
    assert page.inner_text("#count") == "1 of 70"
    page.click(".row")
    shows(page, "#head code", "mtrl/1/0.1")
    page.click("button[type=reset]")
    shows(page, "#count", "70 of 70")
    for name, value, count in (("ending", "=failure", 2), ("task", "=many:3", 9), ("space", "=none", 0)):
        if value not in page.eval_on_selector_all(f"#f-{name} option", "all => all.map((o) => o.value)"):
            assert count == 0
            continue
        page.select_option(f"#f-{name}", value)
        assert page.inner_text("#count") == f"{count} of 70"
        page.select_option(f"#f-{name}", "")


def test_free_text_finds_what_was_said_and_what_went_wrong(open_page: Open, viewer: str) -> None:
    page = open_page(viewer)
    for text, names in (
        ("OUT of reach", ["mtrl/1/0.0"]),
        ("fly", ["mtrl/1/0.2"]),
        ("please walk:far", ["sft/id-mixed/1.0"]),
        ("xyzzy", []),
    ):
        page.fill("#f-text", text)
        shows(page, "#count", f"{len(names)} of 70")
        assert [s.split(" · ")[0] for s in page.locator(".row .what small").all_inner_texts()] == names


def test_rows_are_made_only_for_what_is_in_view(open_page: Open, viewer: str) -> None:
    page = open_page(viewer)
    assert page.locator(".row").count() < 40
    page.eval_on_selector("#list", "list => { list.scrollTop = list.scrollHeight }")
    page.wait_for_selector('.row[aria-posinset="70"]')
    assert page.get_attribute(".row >> nth=-1", "aria-setsize") == "70"


def test_the_scrubber_goes_through_the_turns(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.0"))
    assert page.inner_text("#where") == "turn 1 of 3"
    assert page.is_disabled("#previous")
    assert "see oak_log 0" in page.inner_text(".scene")
    page.click("#next")
    assert page.inner_text("#where") == "turn 2 of 3"
    assert "failed: out of reach" in page.inner_text("[aria-label=Outcome]")
    assert page.locator(".scene mark").all_inner_texts() == ["1"], "only the word that is new is marked"
    page.eval_on_selector("#turn", "slider => { slider.value = 2; slider.dispatchEvent(new Event('input')) }")
    assert page.inner_text("#where") == "turn 3 of 3"
    assert page.get_attribute("#turn", "aria-valuetext") == "turn 3 of 3, space control"
    assert page.is_disabled("#next")
    assert page.url.endswith("@3"), "the address names what is shown"
    page.click("#strip .tick >> nth=0")
    assert page.inner_text("#where") == "turn 1 of 3"


def test_play_goes_to_the_end_and_stops(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.1"))
    page.click("#play")
    shows(page, "#where", "turn 2 of 2")
    page.wait_for_selector("#play[aria-pressed=false]", timeout=4000)


def classes(page) -> list[str]:
    return [c.split()[1] for c in page.eval_on_selector_all("#response .t", "all => all.map((t) => t.className)")]


def test_tokens_are_coloured_by_each_scale_with_an_underline_of_its_own(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.1"))
    assert classes(page) == ["m3"] * 7
    expected = {
        # log-probs: log 0.3, −0.01, −0.5, −1.5, −3, −7, −0.2
        "logprob": ["l2", "l0", "l1", "l2", "l3", "l4", "l1"],
        "advantage": ["a4"] * 7,
        # k3 of a reference 0.3·k below: 0, 0.041, 0.149, 0.307, 0.501, 0.723, 0.965
        "kl": ["k0", "k2", "k3", "k3", "k3", "k3", "k3"],
    }
    for mode, want in expected.items():
        page.check(f"input[value={mode}]")
        assert classes(page) == want, mode
        drawn = page.eval_on_selector_all(
            "#legend .t",
            "all => all.map((t) => getComputedStyle(t).textDecoration + getComputedStyle(t).textDecorationThickness)",
        )
        assert len(set(drawn)) == 5, "the scale can be read without colour"
    page.check("#numbers")
    assert page.eval_on_selector_all("#response .t", "all => all.map((t) => t.dataset.n)")[4] == "0.50"
    assert page.eval_on_selector("#response .t[data-k='4']", "t => getComputedStyle(t, '::after').content") == '"0.50"'
    page.click("#response .t >> nth=4")
    said = page.inner_text("#token")
    for part in (
        "Token 5 of 7",
        "id ",
        "sampled and trained",
        "log-prob −3.000",
        "p 5.0 %",
        "advantage 0.750",
        "reference −4.200",
        "KL 0.5012",
    ):
        assert part in said
    assert page.get_attribute("#response .t >> nth=4", "title") in said


def test_what_a_turn_lacks_is_said(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("sft/id-mixed/2.0"))
    assert classes(page) == ["m1", *["m2"] * 6], "a forced header, then sampled and not trained"
    assert "nothing was chosen" in page.inner_text("[aria-label='Choice of space']")
    for mode, why in (("advantage", "Nothing trained on this turn"), ("kl", "No KL")):
        page.check(f"input[value={mode}]")
        assert why in page.inner_text("#response")
    page = open_page(viewer + at("sft/id-mixed/3.0"))
    assert "an expert wrote this turn" in page.inner_text("#response")
    page = open_page(viewer + at("sft/id-mixed/4.0"))
    assert "no turns" in page.inner_text("#single")
    assert "the world died" in page.inner_text("#head")


def test_the_choice_of_space_shows_all_probabilities_and_the_group_s_shares(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.1"))
    rows = page.eval_on_selector_all(
        "[aria-label='Choice of space'] tbody tr",
        "all => all.map((r) => [...r.children].map((c) => c.innerText.trim()))",
    )
    assert rows == [
        ["api", "60 %", "67 %"],
        ["gui ◀ chosen", "30 %", "33 %"],
        ["control", "8.0 %", "0 %"],
        ["none of them", "2.0 %", "0 %"],
    ]
    assert "share of 3 members" in page.inner_text("[aria-label='Choice of space']")


def test_members_of_a_group_stand_side_by_side(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.1"))
    page.click("#compare")
    members = page.locator("#group .member")
    assert members.count() == 3
    assert [t.split("\n")[0] for t in members.all_inner_texts()] == [
        "✗ no success member 0",
        "✓ success member 1 (chosen)",
        "✗ no success member 2",
    ]
    assert page.inner_text("#where") == "turn 1 of 3", "as many as the longest has"
    assert "invalid: no such call: fly" in members.nth(2).inner_text()
    page.click("#next")
    page.click("#next")
    assert "Ended after turn 2" in members.nth(1).inner_text()
    assert members.nth(0).locator(".tokens .t").count() == 7
    page.click("#compare")
    assert page.inner_text("#where") == "turn 2 of 2"
    page = open_page(viewer + at("sft/id-mixed/1.0"))
    assert page.is_disabled("#compare"), "an episode of an evaluation is alone"


def test_text_of_a_run_stays_text(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("sft/id-mixed/0.0"))
    assert ATTACK in page.inner_text("#head h2")
    assert CLOSING in page.inner_text("#head")
    assert ATTACK in page.inner_text(".scene")
    assert ATTACK in page.inner_text("[aria-label=Outcome]")
    tokens = page.locator("#response .t").all_inner_texts()
    assert tokens == ["Api:", ATTACK, "⟨U+202E⟩", "<|end|>"], "what would reorder a text is shown by its code"
    assert page.evaluate("document.images.length") == 0
    assert page.locator("script:not([type])").count() == 0
    assert f"{ATTACK} (1)" in options(page, "task")
    open_page.expected.append("requires 'TrustedScript' assignment")
    # … and were it markup, the page's policy would not let it run.
    blocked = page.evaluate(
        """() => { const s = document.createElement("script");
        try { s.textContent = "window.ran = 1"; document.body.append(s); } catch {} return window.ran === undefined }"""
    )
    assert blocked


def test_two_hundred_turns_with_images(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("sft/id-mixed/1.0"))
    sources = set()
    for turn in (1, 2, 100, 200):
        page.eval_on_selector(
            "#turn", f"slider => {{ slider.value = {turn - 1}; slider.dispatchEvent(new Event('input')) }}"
        )
        assert page.inner_text("#where") == f"turn {turn} of 200"
        assert page.eval_on_selector(".scene img", "async (i) => { await i.decode(); return i.naturalWidth }") == 32
        sources.add(page.get_attribute(".scene img", "src"))
    assert len(sources) == 4, "every turn has an image of its own"
    assert page.locator("#strip .tick").count() == 200
    page.click("summary")
    page.wait_for_selector("details .t")
    assert "2593 tokens" in page.inner_text("summary")
    assert page.locator("details .t").count() == 1500
    page.click("details button")
    assert page.locator("details .t").count() == 2593, "the prompt of turn 200 holds all before: 199 × 13 + 6"


def test_what_loads_late_does_not_replace_what_was_chosen_since(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("sft/id-mixed/2.0"))  # is kept, so it is shown at once the next time
    page.click("#row-0")
    shows(page, "#head code", "sft/id-mixed/0.0")
    page.eval_on_selector(
        "body",
        "b => { for (let i = 0; i < 2; i++) b.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true })) }",
    )
    shows(page, "#head code", "sft/id-mixed/2.0")
    page.wait_for_timeout(500)  # the 200 turns of 1.0 are there by now
    assert page.inner_text("#where") == "turn 1 of 1"


def test_keys_alone(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.0"))
    press = page.keyboard.press
    press("j")
    shows(page, "#head code", "mtrl/1/0.1")
    press("k")
    shows(page, "#head code", "mtrl/1/0.0")
    press("ArrowRight")
    press("ArrowRight")
    assert page.inner_text("#where") == "turn 3 of 3"
    press("Home")
    assert page.inner_text("#where") == "turn 1 of 3"
    press("End")
    press("ArrowLeft")
    assert page.inner_text("#where") == "turn 2 of 3"
    press("2")
    assert page.is_checked("input[value=logprob]")
    press("]")
    press("]")
    assert page.inner_text("#token").startswith("Token 2 of 7")
    press("[")
    assert page.inner_text("#token").startswith("Token 1 of 7")
    press("n")
    assert page.is_checked("#numbers")
    press("c")
    assert page.is_visible("#group")
    press("Escape")
    assert page.is_hidden("#group")
    press("/")
    page.keyboard.type("jjj c")
    assert page.input_value("#f-text") == "jjj c", "keys are letters while one types"
    assert page.is_hidden("#group")
    press("Escape")
    assert page.evaluate("document.activeElement === document.body")
    press("?")
    assert page.is_visible("#help")
    page.uncheck("#keys")
    press("Escape")
    assert page.is_hidden("#help")
    press("c")
    assert page.is_hidden("#group"), "single keys can be switched off"


def test_tab_reaches_every_control_and_the_focus_is_seen(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.0"))
    reached, outlines = [], set()
    for _ in range(40):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => { const e = document.activeElement; const s = getComputedStyle(e);
            return [e.id || e.type || e.tagName, s.outlineStyle + " " + s.outlineWidth,
                    e.getAttribute("aria-label") || e.labels?.length || e.innerText || ""] }"""
        )
        if found[0] == "BODY" or found[0] in reached:
            break
        reached.append(found[0])
        outlines.add(found[1])
        assert found[2], f"{found[0]} has no name"
    wanted = {
        "help-open",
        "f-text",
        "f-task",
        "f-stage",
        "f-which",
        "f-space",
        "f-success",
        "f-ending",
        "reset",
        "list",
        "next",
        "play",
        "turn",
        "compare",
        "radio",
        "numbers",
        "SUMMARY",
    }
    assert wanted <= set(reached)
    assert outlines == {"solid 3px"}
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    shows(page, "#head code", "mtrl/1/0.1")
    assert page.get_attribute("#list", "aria-activedescendant") == page.get_attribute("[aria-selected=true]", "id")


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    if (!node.checkVisibility() || node.disabled || ![...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    if (["SCRIPT", "OPTION"].includes(node.tagName)) continue;
    let at = node; let back = [0, 0, 0, 0];
    while (at && back[3] === 0) { back = rgb(getComputedStyle(at).backgroundColor); at = at.parentElement; }
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(back)];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.tagName + "." + node.className + " " + node.textContent.slice(0, 30)]);
  }
  return found.sort((x, y) => x[0] - y[0]).slice(0, 3).concat([[found.length, "count"]]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough_in_light_and_dark(open_page: Open, viewer: str, scheme: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.0", 2), color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    for mode in ("mask", "logprob", "advantage", "kl"):
        page.check(f"input[value={mode}]")
        *worst, (count, _) = page.evaluate(CONTRAST)
        assert count > 60
        assert worst[0][0] >= 4.5, worst


def test_nothing_moves_for_those_who_ask_for_it(open_page: Open, viewer: str) -> None:
    for motion, moves in (("reduce", False), ("no-preference", True)):
        page = open_page(viewer, reduced_motion=motion)
        duration = page.eval_on_selector(".row", "row => getComputedStyle(row).transitionDuration")
        assert (duration != "0s") == moves


def test_a_narrow_window_shows_everything_below_each_other(open_page: Open, viewer: str) -> None:
    page = open_page(viewer + at("mtrl/1/0.0"), viewport={"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert page.is_visible("#response")


@pytest.mark.slow
def test_a_real_run(open_page: Open, toy_run: Path, tmp_path: Path) -> None:
    shown, total = write_page(toy_run, tmp_path / "viewer.html", 1000)
    assert shown == total > 30
    page = open_page((tmp_path / "viewer.html").as_uri() + at("mtrl/2/0.1"))
    shows(page, "#head code", "mtrl/2/0.1")
    assert {"untrained", "sft", "mtrl"} <= {o.split()[0] for o in options(page, "stage")}
    for mode, scale in (("mask", "m3"), ("logprob", "l"), ("advantage", "a"), ("kl", "k")):
        page.check(f"input[value={mode}]")
        assert classes(page), mode
        assert all(c.startswith(scale) for c in classes(page)), mode
    shares = page.locator("[aria-label='Choice of space'] tbody tr td:nth-child(2)").all_inner_texts()
    values = [float(re.sub(r"[^\d.]", "", s)) for s in shares]
    assert len(values) == 4
    assert sum(values) == pytest.approx(100, abs=2)
    page.click("summary")
    page.wait_for_selector("details .t")
    prompt = "".join(page.locator("details .t").all_inner_texts())
    assert prompt.startswith("<|system|>Api")
    assert prompt.endswith("<|assistant|>")
    page.keyboard.press("c")
    assert page.locator("#group .member").count() == 3
