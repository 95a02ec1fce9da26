"""Episodes in Chromium: what is seen, what inputs do, that seeds decide everything, going back."""

import random
import shutil

import numpy as np
import pytest

from crossagent.plugin import RawTick, SkillFailed, Unavailable, lower
from crossagent.testing.checks.environment_case import random_call
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlSpace
from crossagent_gui.space import GuiSpace
from crossagent_miniwob.browser import chromium
from crossagent_miniwob.fields import slug

SPACES = {"Api:": ApiSpace(), "Gui:": GuiSpace(), "Action:": ControlSpace()}


def act(env, text):
    space = SPACES[text.split()[0]]
    return space.executor.execute(space.tokenizer.decode(text), env)


def test_the_text_has_the_instruction_its_values_the_elements_and_the_mouse(make_world, task):
    env = make_world()
    text = env.reset(task("login-user"), 0).text
    assert text.startswith('Enter the username "')
    assert "username = " in text
    assert "username: field '' at " in text
    assert "login: button at " in text
    assert text.endswith("mouse at 80,105")


def test_one_task_in_three_spaces(make_world, task):
    env = make_world()
    ends = []
    for texts in (
        ["Api: click(one)", "Api: click(two)"],
        ["Gui: click(one)", "Gui: click(two)"],
    ):
        env.reset(task("click-button-sequence"), 3)
        ends.append([act(env, text) for text in texts][-1])
    env.reset(task("click-button-sequence"), 3)
    for name in ("one", "two"):
        while True:
            x, y = env.interface("pointer").targets()[name].center
            dx, dy = ((g - c) // 2 * 2 for g, c in zip((x, y), env.hand.cursor, strict=True))
            if (dx, dy) == (0, 0):
                break
            act(env, f"Action: move({max(-80, min(80, dx))}, {max(-80, min(80, dy))})")
        act(env, "Action: click(left)")
        ends.append(act(env, "Action: no_op"))
    for outcome in (ends[0], ends[1], ends[-1]):
        assert outcome.terminated
        assert outcome.reward == 1.0
        assert [(e.kind, e.name) for e in outcome.events] == [("task", "solved")]


def test_a_wrong_click_ends_the_episode_without_success(make_world, task):
    env = make_world()
    env.reset(task("click-test-2"), 0)
    outcome = act(env, "Api: click(two)")
    assert outcome.terminated
    assert outcome.reward < 0
    assert not env.success


def test_reward_does_not_wait_for_the_clock(make_world, task):
    """The page takes a share off for time; what counts is what it gives without that. And no timer ends the episode."""
    env = make_world()
    env.reset(task("click-test-2"), 0)
    for _ in range(100):
        act(env, "Action: no_op")  # 20 s of the page's time: it allows itself 10
        if env.over:
            break
    assert not env.terminated
    env.reset(task("click-test-2"), 0)
    for _ in range(30):
        act(env, "Action: no_op")
    assert act(env, "Api: click(one)").reward == 1.0


def test_keys_type_capitals_signs_and_chords(make_world, task):
    env = make_world()
    env.reset(task("enter-text"), 0)
    act(env, "Gui: click(field)")
    for key in ("A", "b", "exclam", "space", "7", "minus", "backspace", "select_all", "copy", "end", "paste"):
        act(env, f"Gui: press({key})")
    assert env.view.find("field").value == "Ab! 7Ab! 7"
    act(env, "Action: press(x, left.shift)")
    act(env, "Action: press(x)")  # held all along: no second letter
    assert env.view.find("field").value == "Ab! 7Ab! 7X"


def test_a_skill_types_a_value_over_what_was_there(make_world, task):
    env = make_world()
    env.reset(task("enter-text"), 0)
    act(env, "Api: type_number(field, 42)")
    assert env.view.find("field").value == "42"
    act(env, "Api: type(field, target)")
    assert env.view.find("field").value == env.values["target"]
    assert act(env, "Api: click(submit)").reward == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Api: click(nowhere)", "no nowhere on the page"),
        ("Api: type(submit, target)", "submit takes no text"),
        ("Api: type(field, nothing)", "no value and no element nothing"),
        ("Api: select(field, 1)", "field is no list of options"),
        ("Api: scroll(field, 9)", "field does not scroll"),
        ("Api: press(hyper)", "no key hyper"),
        ("Api: type_word(field, submit, 7)", "submit has 1 words"),
    ],
)
def test_a_skill_fails_with_the_reason_and_takes_no_tick(make_world, task, text, said):
    env = make_world()
    env.reset(task("enter-text"), 0)
    outcome = act(env, text)
    assert outcome.error == said
    assert outcome.ticks == 0


def test_skills_scroll_to_what_is_not_shown(make_world, task):
    env = make_world()
    env.reset(task("social-media"), 0)
    hidden = next(e for e in env.view.elements if e.side == "below" and e.scroll)
    act(env, f"Api: click({hidden.name})")
    found = env.view.find(hidden.name)
    assert found is None or not found.side


def test_a_list_is_chosen_from_by_keys(make_world, task):
    env = make_world()
    env.reset(task("choose-list"), 1)
    listed = next(e for e in env.view.elements if e.kind == "list")
    act(env, f"Api: select({listed.name}, {len(listed.options)})")
    assert env.view.find(listed.name).value == listed.options[-1]
    act(env, "Gui: press(up)")
    assert env.view.find(listed.name).value == listed.options[-2]


def test_pixels(make_world, task):
    env = make_world(observation="pixels")
    seen = env.reset(task("click-color"), 0)
    assert seen.image.shape == (210, 160, 3)
    assert seen.image.dtype == np.uint8
    assert seen.text == env.view.told
    for box in (e for e in env.view.elements if e.kind == "box"):
        colours = {"red": (255, 0, 0), "white": (255, 255, 255), "black": (0, 0, 0), "blue": (0, 0, 255)}
        if box.colour in colours:
            x, y = box.rect.center
            assert tuple(seen.image[y, x]) == colours[box.colour]
    assert make_world(observation="both").reset(task("click-color"), 0).text.startswith("Click on the ")


def test_lowering_a_click_touches_the_page_only_when_it_is_looked_at(make_world, task):
    env = make_world()
    env.reset(task("click-test-2"), 0)
    before, played = env.state_hash(), []
    play = env._page.play
    env._page.play = lambda raw: (played.append(raw), play(raw))
    click = [
        lower(space, space.tokenizer.decode(f"{head} click(one)"), env)
        for head, space in SPACES.items()
        if head != "Action:"
    ]
    assert click[0] == click[1]
    assert click[0][0].buttons == ("left",)
    assert not played
    env._page.play = play
    assert env.state_hash() == before
    assert len(lower(SPACES["Api:"], SPACES["Api:"].tokenizer.decode("Api: click(one)"), env, 4)) == 1
    assert env.state_hash() == before


def test_going_back_plays_again_on_a_fresh_page(make_world, task):
    env = make_world()
    env.reset(task("login-user"), 0)
    act(env, "Api: type(username, username)")
    snapshot, before = env.snapshot(), env.state_hash()
    act(env, "Api: type(password, password)")
    after = env.state_hash()
    for _ in range(2):
        env.restore(snapshot)
        assert env.state_hash() == before
        act(env, "Api: type(password, password)")
        assert env.state_hash() == after


def test_looking_on_the_way_makes_no_difference(make_world, task):
    env = make_world()
    ends = []
    for look in (True, False):
        env.reset(task("right-angle"), 0)
        for _ in range(3):
            env.tick(RawTick((), ("left",), (-23, -12)))
            env.tick(RawTick())
            if look:
                env.observe()
        ends.append(env.state_hash())
    assert ends[0] == ends[1]


def wander(env, task, salt, calls=12):
    env.reset(task, 7)
    seen = [env.state_hash()]
    rng = random.Random(salt)
    for _ in range(calls):
        random_call(env, ("control", "pointer", "skills"), rng)
        seen.append(env.state_hash())
        if env.over:
            break
    return seen


@pytest.mark.parametrize(
    "page", ["click-tab-2", "email-inbox", "choose-date", "click-scroll-list", "chase-circle", "use-slider"]
)
def test_equal_inputs_lead_to_equal_pages_in_any_tab(make_world, task, page):
    first, second = make_world(), make_world()
    assert wander(first, task(page), 1) == wander(second, task(page), 1) == wander(first, task(page), 1)


def test_worlds_of_one_process_share_a_browser_and_nothing_else(make_world, task):
    envs = [make_world() for _ in range(3)]
    for seed, env in enumerate(envs):
        env.reset(task("enter-text"), seed)
    for env in envs:
        act(env, "Gui: click(field)")
        act(env, "Gui: press(a)")
    act(envs[0], "Gui: press(select_all)")
    act(envs[0], "Gui: press(copy)")
    act(envs[1], "Gui: press(paste)")
    assert [env.view.find("field").value for env in envs] == ["a", "a", "a"]
    assert len({env._page._tab.browser.process.pid for env in envs}) == 1
    assert all(env.view.find("field").focus for env in envs)


def test_nothing_happens_after_the_end(make_world, task):
    env = make_world()
    env.reset(task("click-test"), 0)
    act(env, "Api: click(click_me)")
    assert env.over
    ticks, hashed = len(env.tick_log), env.state_hash()
    act(env, "Gui: click(1, 1)")
    env.tick(RawTick(("a",)))
    with pytest.raises(SkillFailed):
        env.interface("skills")._shown("nothing")
    assert (len(env.tick_log), env.state_hash()) == (ticks, hashed)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["click-test-2", "login-user", "choose-list", "email-inbox-delete", "use-slider"])
def test_problems_are_those_of_the_packages_own_environment(make_world, task, page, monkeypatch):
    """MiniWoB++'s own environment, through WebDriver, draws the same from the same seed."""
    driver, browser = shutil.which("chromedriver"), chromium_or_skip()
    if driver is None:
        pytest.skip("no chromedriver on the PATH (Debian, Ubuntu: sudo apt-get install chromium-driver)")
    monkeypatch.setenv("SE_OFFLINE", "true")
    monkeypatch.setenv("MINIWOB_CHROME_BINARY", browser)
    monkeypatch.setenv("MINIWOB_CHROMEDRIVER", driver)
    from miniwob.environment import MiniWoBEnvironment

    theirs = MiniWoBEnvironment(page, data_mode="default")
    ours = make_world()
    try:
        for seed in (1, 2):
            seen, _ = theirs.reset(seed=seed)
            ours.reset(task(page), seed)
            assert ours.view.told == seen["utterance"]
            assert ours.values == {slug(name): value for name, value in seen["fields"]}
            said = {" ".join(element["text"].split()) for element in seen["dom_elements"] if element["text"]}
            shown = {e.text for e in ours.view.elements if e.text and not e.side}
            assert shown <= said | {e.text for e in ours.view.elements if e.kind == "text"}
            assert shown & said
    finally:
        theirs.close()


def chromium_or_skip():
    try:
        return chromium()
    except Unavailable as error:
        pytest.skip(str(error))
