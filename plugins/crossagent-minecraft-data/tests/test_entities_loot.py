"""Mobs, weapons and drops."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from crossagent_minecraft_data._source import facts
from crossagent_minecraft_data.blocks import BLOCKS
from crossagent_minecraft_data.entities import MOBS, after_armor, attack_damage, weapon
from crossagent_minecraft_data.items import ITEMS
from crossagent_minecraft_data.loot import block_drops, mob_drops

GOLDEN = json.loads((Path(__file__).parents[3] / "tests" / "golden" / "minecraft" / "entities.json").read_text())


def test_mobs():
    for name, want in GOLDEN["mobs"].items():
        mob = MOBS[name]
        assert (mob.width, mob.height, mob.kind, mob.armor or 0) == (
            want["w"], want["h"], want["kind"], 12 if name == "magma_cube" else want.get("armor", 0)
        ), name  # fmt: skip
        for field, value in (("health", want["health"]), ("speed", want["speed"]), ("attack", want["attack_normal"])):
            got = getattr(mob, field)
            assert min(value) <= got <= max(value) if isinstance(value, list) else got == value, (name, field)


def test_hits_needed_at_full_charge():
    for name, want in GOLDEN["mobs"].items():
        if isinstance(want["health"], list):
            continue
        for item, hits in want["full_charge_hits"].items():
            damage = after_armor(weapon(None if item == "hand" else item)[0], want.get("armor", 0))
            assert -(-MOBS[name].health // damage) == hits, (name, item)


def test_weapons_and_cooldown():
    for item, want in GOLDEN["weapons"].items():
        assert weapon(item) == (want["damage"], want["attack_speed"])
    for item, ticks, _, damage in GOLDEN["cooldown_vectors"]:
        assert attack_damage(item, ticks) == pytest.approx(damage, abs=1e-5)
    assert weapon("dirt") == weapon(None) == (1.0, 4.0)


def _rates(draw, n=10_000):
    """Mean number of each item per draw."""
    rng, total = random.Random(7), Counter()
    for _ in range(n):
        for item, count in draw(rng):
            total[item] += count
    return {item: count / n for item, count in total.items()}


@pytest.mark.parametrize(
    ("block", "tool", "rates"),
    [
        ("stone", "iron_pickaxe", {"cobblestone": 1}),
        ("stone", None, {}),
        ("gravel", None, {"flint": 0.1, "gravel": 0.9}),
        ("oak_leaves", None, {"oak_sapling": 0.05, "stick": 0.03, "apple": 0.005}),
        ("jungle_leaves", None, {"jungle_sapling": 0.025, "stick": 0.03}),
        ("birch_leaves", "shears", {"birch_leaves": 1}),
        ("grass", None, {"wheat_seeds": 0.125}),
        ("wheat", None, {"wheat": 1, "wheat_seeds": 12 / 7}),
        ("redstone_ore", "iron_pickaxe", {"redstone": 4.5}),
        ("lapis_ore", "stone_pickaxe", {"lapis_lazuli": 6.5}),
        ("diamond_ore", "stone_pickaxe", {}),
        ("cobweb", "iron_sword", {"string": 1}),
        ("potted_cactus", None, {"flower_pot": 1, "cactus": 1}),
        ("oak_log", None, {"oak_log": 1}),
        ("white_stained_glass_pane", "iron_pickaxe", {}),
        ("wall_torch", None, {"torch": 1}),
        ("grass_block", None, {"dirt": 1}),
    ],
)
def test_block_rates(block, tool, rates):
    got = _rates(lambda rng: block_drops(block, tool, rng))
    assert got.keys() == rates.keys()
    for item, rate in rates.items():
        assert got[item] == pytest.approx(rate, abs=0.03 if rate >= 0.1 else 0.01)


@pytest.mark.parametrize(
    ("mob", "rates"),
    [
        ("cow", {"leather": 1, "beef": 2}),
        ("chicken", {"feather": 1, "chicken": 1}),
        ("cod", {"cod": 1, "bone_meal": 0.05}),
        ("wither_skeleton", {"coal": 1 / 3, "bone": 1, "wither_skeleton_skull": 0.025}),
        ("shulker", {"shulker_shell": 0.5}),
        ("bat", {}),
    ],
)
def test_mob_rates(mob, rates):
    got = _rates(lambda rng: mob_drops(mob, rng))
    assert got.keys() == rates.keys()
    for item, rate in rates.items():
        assert got[item] == pytest.approx(rate, abs=0.03)


def test_all_drops_are_items():
    rng = random.Random(0)
    tools = (None, "shears", "netherite_pickaxe", "netherite_sword")
    for block in BLOCKS:
        for tool in tools:
            for _ in range(3):
                for item, count in block_drops(block, tool, rng):
                    assert item in ITEMS, (block, item)
                    assert count > 0
    for mob in facts()["loot"]["mobs"]:
        assert mob in MOBS
        for _ in range(20):
            assert all(item in ITEMS for item, _ in mob_drops(mob, rng)), mob
