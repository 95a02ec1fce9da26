"""Digging against prismarine-block (see tests/golden/README.md)."""

import json
from pathlib import Path

import pytest

from crossagent_minecraft_data.blocks import BLOCKS, dig_ticks, harvests

GOLDEN = json.loads((Path(__file__).parents[3] / "tests" / "golden" / "minecraft" / "digging.json").read_text())
TOOLS = [None if tool == "hand" else tool for tool in GOLDEN["header"]["tools"]]


def test_ticks_and_harvest_of_every_block_with_every_tool():
    compared = 0
    for name, want in GOLDEN["blocks"].items():
        if BLOCKS[name].hardness < 0:  # minecraft-data gives these hardness 0, so the reference calls them instant
            continue
        newer = want.get("use") == "1.17.1"
        ticks = [dig_ticks(name, tool) for tool in TOOLS]
        drops = "".join("01"[harvests(name, tool)] for tool in TOOLS)
        expected = want["t_1171"] if newer else want["t"]
        if name in ("bamboo", "bamboo_sapling"):  # header.known_gaps: any sword is instant in vanilla
            expected = [0 if t and t.endswith("_sword") else n for t, n in zip(TOOLS, expected, strict=True)]
        assert ticks == expected, name
        assert drops == (want["h_1171"] if newer else want["h"]), name
        compared += 1
    assert compared > 440


def test_water_and_air_slow_digging_by_five_each():
    for name, want in GOLDEN["blocks"].items():
        if BLOCKS[name].hardness >= 0 and want.get("use") != "1.17.1":
            got = [
                dig_ticks(name, "iron_pickaxe", in_water=True),
                dig_ticks(name, "iron_pickaxe", on_ground=False),
                dig_ticks(name, "iron_pickaxe", in_water=True, on_ground=False),
            ]
            assert got == want["wet_air_both"], name


@pytest.mark.parametrize("name", ["bedrock", "barrier", "water", "lava", "air", "end_portal"])
def test_what_cannot_be_dug_takes_forever(name):
    assert dig_ticks(name, "netherite_pickaxe") == -1


@pytest.mark.parametrize(
    ("name", "tool", "ticks"),
    [
        ("stone", None, 150), ("stone", "wooden_pickaxe", 23), ("coal_ore", "wooden_pickaxe", 46),
        ("diamond_ore", "iron_pickaxe", 15), ("obsidian", "diamond_pickaxe", 188), ("oak_log", None, 60),
        ("oak_log", "iron_axe", 10), ("dirt", None, 15), ("dirt", "iron_shovel", 3), ("oak_leaves", "iron_hoe", 0),
        ("oak_leaves", "shears", 0), ("hay_block", None, 15), ("poppy", None, 0), ("bamboo", "stone_sword", 0),
    ],
)  # fmt: skip
def test_known_ticks(name, tool, ticks):
    assert dig_ticks(name, tool) == ticks


def test_shapes_and_placing():
    assert BLOCKS["stone"].full
    assert BLOCKS["stone"].solid
    assert not BLOCKS["poppy"].solid
    assert BLOCKS["poppy"].outline
    assert BLOCKS["water"].outline == ()
    assert BLOCKS["grass"].replaceable
    assert not BLOCKS["poppy"].replaceable
    assert BLOCKS["oak_slab"].boxes == ((0.0, 0.0, 0.0, 1.0, 0.5, 1.0),)
    assert len(BLOCKS) == 763
