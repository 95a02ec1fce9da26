"""Renaming replaces names consistently within a demonstration, and never by a name that is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.demonstrations.collect import Demonstration, DemoTurn
from crossagent.demonstrations.rename import (
    RenameConfig,
    RenameStats,
    Vocabulary,
    made_names,
    rename_demonstrations,
    words_of,
)
from crossagent.errors import RecipeError

NAMES = ("oak_log", "oak_planks", "oak_fence", "stone", "white_wool", "red_wool", "cow", "iron_axe", "stick", "pig")
HELD = "white_fence"


def demonstration(**changes) -> Demonstration:
    turns = (
        DemoTurn("see oak_log 1 2 stone 5 hand iron_axe", "Api: mine(oak_log)", "api", segments=(("name", 10),)),
        DemoTurn("see stone 5 hand oak_log; last ok", "Gui: click(hot5)", "gui", segments=(("target", 11),)),
    )
    whole = Demonstration("mine:oak_log", "mine", 3, ("api", "gui"), turns, True, "mixed", "mine oak_log", "terminated")
    return replace(whole, **changes)


def renamed(source="lexicon", refused=(), count=40, base=None, stats=None, seed=7):
    rows = [base or demonstration()] * count
    return rename_demonstrations(rows, RenameConfig(1.0, source), NAMES, refused, seed, stats)


@pytest.mark.parametrize("source", ["words", "lexicon", "nonces"])
def test_a_name_is_the_same_new_name_everywhere_in_its_episode(source: str) -> None:
    other = demonstration(instruction="mine red_wool or white_planks, a cow, a stick, oak_fence or pig", turns=())
    new = rename_demonstrations([demonstration()] * 40 + [other], RenameConfig(1.0, source), NAMES, (), 7)[:-1]
    assert len({demo.instruction for demo in new}) > 3
    for demo in new:
        goal = demo.instruction.removeprefix("mine ")
        assert demo.turns[0].text == f"Api: mine({goal})"
        assert demo.turns[0].observation.split()[1] == goal
        assert demo.turns[1].observation.split()[4].removesuffix(";") == goal
        assert goal != "oak_log"


def test_words_are_replaced_one_to_one_and_only_names_change() -> None:
    old = demonstration()
    for new in renamed():
        for before, after in zip(old.turns, new.turns, strict=True):
            assert re.sub(r"[a-z]+_[a-z]+|stone", "NAME", before.observation).split()[0] == after.observation.split()[0]
            assert len(after.observation.split()) == len(before.observation.split())
        assert len({new.turns[0].observation.split()[k] for k in (1, 4, 7)}) == 3
        assert (new.task, new.seed, new.kind, new.success) == (old.task, old.seed, old.kind, old.success)


def test_a_word_that_nothing_shows_before_it_is_written_is_kept() -> None:
    """The layout of a fence follows from the word alone: were it replaced, nothing could tell what to place where."""
    turns = (
        DemoTurn("have oak_planks 4 stick 2", "Gui: click(hot1)", "gui"),
        DemoTurn("grid - - result oak_fence", "Gui: click(result)", "gui"),
    )
    base = demonstration(turns=turns, instruction="craft oak_fence")
    for new in renamed(base=base):
        wood = new.instruction.removeprefix("craft ").removesuffix("_fence")
        assert new.instruction.endswith("_fence")
        assert wood != "oak"
        assert new.turns[0].observation.startswith(f"have {wood}_")
        assert new.turns[1].observation.endswith(f"{wood}_fence")
    api = demonstration(turns=(replace(turns[0], text="Api: craft(oak_fence)"),), instruction="craft oak_fence")
    assert not any(new.instruction.endswith("_fence") for new in renamed(base=api))


def test_segments_stay_where_their_text_is() -> None:
    for new in renamed():
        assert new.turns[0].text[10:].startswith(new.instruction.removeprefix("mine "))
        assert new.turns[1].segments == (("target", 11),)
    base = demonstration(turns=(DemoTurn("see oak_log", "Api: mine(oak_log) then rest", "api", segments=(("t", 19),)),))
    for new in renamed(base=base):
        assert new.turns[0].text[new.turns[0].segments[0][1] :] == "then rest"


def test_names_in_plain_words_are_replaced_too() -> None:
    for new in renamed(base=demonstration(instruction="there is an oak log near by: mine it")):
        goal = new.turns[0].text.removeprefix("Api: mine(").removesuffix(")")
        assert f" {goal.replace('_', ' ')} near" in new.instruction


def test_a_refused_name_is_never_made_though_chance_would_make_it() -> None:
    free = made_names(renamed(count=400), (*NAMES, "white_planks", "red_fence"))
    assert free["white_planks"], "the refusal below would have nothing to refuse"
    stats = RenameStats()
    new = renamed(refused=("white_planks", "red_fence"), count=400, stats=stats)
    made = made_names(new, (*NAMES, "white_planks", "red_fence"))
    assert not made["white_planks"]
    assert not made["red_fence"]
    assert stats.refused > 0
    assert stats.renamed + stats.kept + stats.without_names == 400


@given(st.sets(st.sampled_from(NAMES)), st.integers(0, 2**31), st.sampled_from(["words", "lexicon", "nonces"]))
def test_no_refused_name_is_made_for_any_seed_and_set(refused: set[str], seed: int, source: str) -> None:
    held = {f"{one.split('_')[0]}_{other.split('_')[-1]}" for one in refused for other in refused} - {"oak_log"}
    new = renamed(source, held, count=4, seed=seed)
    shown = (text for demo in new for text in (demo.instruction, *(t.observation for t in demo.turns), *demo.texts))
    old = {"oak_log", "stone", "iron_axe"}
    assert not ({name for text in shown for name in Vocabulary.of(held).found(text)} - old) if held else True


def test_the_share_is_seeded_and_zero_changes_nothing() -> None:
    rows = [replace(demonstration(), seed=k) for k in range(40)]
    assert rename_demonstrations(rows, RenameConfig(), NAMES, (), 1) == rows
    stats = RenameStats()
    half = rename_demonstrations(rows, RenameConfig(0.5), NAMES, (), 1, stats)
    assert stats.renamed == sum(a != b for a, b in zip(rows, half, strict=True)) == 20
    assert half == rename_demonstrations(rows, RenameConfig(0.5), NAMES, (), 1)
    assert half != rename_demonstrations(rows, RenameConfig(0.5), NAMES, (), 2)


def test_a_lexicon_that_is_too_small_leaves_the_episode_as_it_is() -> None:
    stats = RenameStats()
    rows = [demonstration()]
    assert rename_demonstrations(rows, RenameConfig(1.0), ("oak_log",), (), 1, stats) == rows
    assert stats.kept == 1


def test_words_of_names_know_their_place() -> None:
    assert words_of(["oak_log", "log", "oak_planks"]) == [
        (False, "oak"),
        (True, "log"),
        (False, "log"),
        (True, "planks"),
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"share": 1.5}, "share: got 1.5; expected 0 to 1"), ({"source": "lexcon"}, "Did you mean.*'lexicon'")],
)
def test_values_that_cannot_work_are_refused(values, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        RenameConfig(**values)
