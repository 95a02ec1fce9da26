"""Crafting and cooking against minecraft-data and an independent matcher (see tests/golden/README.md)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent_minecraft_data.cooking import fuel_ticks, smelts
from crossagent_minecraft_data.items import ITEMS, is_item, stack_size
from crossagent_minecraft_data.recipes import RECIPES, match, recipes_for

GOLDEN = json.loads((Path(__file__).parents[3] / "tests" / "golden" / "minecraft" / "crafting.json").read_text())


def test_every_labelled_grid():
    for case in GOLDEN["grid_cases"]:
        made = match(case["g"], case["W"])
        assert (made and [made.result, made.count]) == case["out"], case


def test_recipes_are_those_of_the_reference():
    assert len(RECIPES) == 562
    for item, rows in GOLDEN["recipes"].items():
        want = set()
        for row in rows:
            cells = row.get("in") or [row["keys"][i] if i >= 0 else [] for i in row["pattern"]]
            cells = [tuple(sorted(c)) for c in cells]
            if row["kind"] == "shaped":
                want.add((True, row["count"], row["table"], row["w"], tuple(cells)))
            else:
                want.add((False, row["count"], row["table"], 0, tuple(sorted(cells))))
        got = set()
        for recipe in recipes_for(item):
            cells = [tuple(sorted(c)) for c in recipe.cells]
            shape = (recipe.width, tuple(cells)) if recipe.shaped else (0, tuple(sorted(cells)))
            got.add((recipe.shaped, recipe.count, recipe.needs_table, *shape))
        if item == "fire_charge":  # the reference lists its two variants apart; we merge them
            assert len(got) == 1
            continue
        assert got == want, item


@given(st.data())
def test_a_recipe_placed_anywhere_makes_its_item(data):
    recipe = data.draw(st.sampled_from([r for name in sorted(RECIPES) for r in RECIPES[name]]))
    grid: list[str | None] = [None] * 9
    right = data.draw(st.integers(0, 3 - recipe.width)) if recipe.shaped else 0
    down = data.draw(st.integers(0, 3 - recipe.height)) if recipe.shaped else 0
    for cell, options in recipe.place(3):
        grid[cell + right + 3 * down] = data.draw(st.sampled_from(options))
    made = match(grid, 3)
    assert made is not None
    assert (made.result, made.count) == (recipe.result, recipe.count)


def test_a_recipe_that_fits_the_hand_works_there():
    for recipes in RECIPES.values():
        for recipe in recipes:
            if not recipe.needs_table:
                grid: list[str | None] = [None] * 4
                for cell, options in recipe.place(2):
                    grid[cell] = options[0]
                assert match(grid, 2) is not None, recipe


def test_containers_stay_in_the_grid():
    made = match(["milk_bucket", "milk_bucket", "milk_bucket", "sugar", "egg", "sugar", "wheat", "wheat", "wheat"], 3)
    assert made is not None
    assert made.result == "cake"
    assert made.leftovers == ("bucket",) * 3 + (None,) * 6


def test_cooking_and_fuel():
    for row in GOLDEN["smelting"]:
        for item in row["in"]:
            assert smelts(item) == row["out"], item
    for item, ticks in GOLDEN["fuel"].items():
        assert fuel_ticks(item) == ticks, item
    for item in ("crimson_planks", "warped_slab", "stone_button", "iron_door", "diamond", "nether_brick_fence"):
        assert fuel_ticks(item) == 0, item
    assert smelts("dirt") is None


def test_items():
    assert len(ITEMS) == 975
    assert (stack_size("dirt"), stack_size("ender_pearl"), stack_size("iron_axe")) == (64, 16, 1)
    assert not is_item("carrots")
    with pytest.raises(KeyError):
        stack_size("carrots")
