"""The experts of the three levels; the whole table is in benchmarks/miniwob_pages.py and in the slow test here."""

import pytest

from crossagent.plugin import Unavailable
from crossagent_miniwob.browser import chromium
from crossagent_miniwob.experts.plans import PLANS
from crossagent_miniwob.suite import suite

LEVELS = {"api": "skills", "gui": "pointer", "control": "control"}


@pytest.fixture(scope="module")
def play():
    """Play an episode by an expert through a space, as demonstrations are recorded."""
    from crossagent.envs.world import World, WorldConfig
    from crossagent.registry.plugin_set import load_plugins

    try:
        chromium()
    except Unavailable as error:
        pytest.skip(str(error))
    plugins = load_plugins()
    spaces = tuple((plugins.space(name), {}) for name in LEVELS)
    world = World(WorldConfig(env=plugins.environment("miniwob"), spaces=spaces))
    yield lambda page, seed, *mixture: world.demonstrate(suite().get(f"miniwob:{page}"), seed, mixture, seed)
    world.close()


@pytest.mark.parametrize("space", LEVELS)
@pytest.mark.parametrize("page", ["click-tab-2", "login-user", "guess-number", "choose-list", "drag-box", "buy-ticket"])
def test_an_expert_of_each_level(play, page, space):
    shown = play(page, 11, space)
    assert shown.success, f"{shown.end}: {shown.texts[-3:]}"


def test_levels_take_turns_in_one_episode(play):
    shown = play("login-user", 5, *LEVELS)
    assert shown.success
    assert len({turn.space for turn in shown.turns}) > 1


def test_a_page_without_a_plan_is_said_so(play):
    shown = play("terminal", 0, "api")
    assert shown.end == "stuck"
    assert not shown.success


@pytest.mark.slow
def test_experts_solve_95_percent_of_30_tasks_at_each_level(play, capsys):
    """Prints the table: page, and episodes of 5 that an expert of each level solved."""
    solved = {
        space: {page: sum(play(page, 100 + n, space).success for n in range(5)) for page in sorted(PLANS)}
        for space in LEVELS
    }
    with capsys.disabled():
        print(f"\n{'page':32}" + "".join(f"{space:>9}" for space in LEVELS))
        for page in sorted(PLANS):
            print(f"{page:32}" + "".join(f"{solved[space][page]:>9}" for space in LEVELS))
    for space, by_page in solved.items():
        train = [by_page[t.setup["page"]] for t in suite().tasks() if "train" in t.splits]
        assert len(train) >= 30
        assert sum(train) >= 0.95 * 5 * len(train), space
        assert sum(count == 5 for count in by_page.values()) >= 45, space
