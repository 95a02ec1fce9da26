"""What blocks and mobs drop, at which rates; see ``[loot]`` in facts.toml."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from crossagent_minecraft_data._source import facts, wildcard
from crossagent_minecraft_data.blocks import BLOCKS, harvests
from crossagent_minecraft_data.items import is_item

Drops = list[tuple[str, int]]
FISH = {"cod": 60, "salmon": 25, "pufferfish": 13, "tropical_fish": 2}
"""item → weight in vanilla's table gameplay/fishing/fish, from which guardians drop too."""


@cache
def _pools(section: str, name: str) -> tuple[list[list[dict[str, Any]]], str] | None:
    rules = facts()["loot"][section]
    if name in rules:
        return rules[name], ""
    for pattern, pools in rules.items():
        if "*" in pattern and (part := wildcard(pattern, name)) is not None:
            return pools, part
    return None


def _roll(pools: list[Any], part: str, tool: str | None, rng: random.Random) -> Drops:
    drops: Drops = []
    for pool in pools:
        for choice in pool:
            if "tool" in choice and choice["tool"] != tool:
                continue
            if "p" in choice and rng.random() >= choice["p"]:
                continue
            if "times" in choice:
                tries, chance = choice["times"]
                count = sum(rng.random() < chance for _ in range(tries))
            else:
                least, most = choice.get("n", (1, 1))
                count = rng.randint(least, most)
            if "fish" in choice:
                item = rng.choices(list(FISH), list(FISH.values()))[0]
            else:
                item = rng.choice(choice["one_of"]) if "one_of" in choice else choice.get("item", "").format(part)
            if item and count > 0:
                drops.append((item, count))
            break
    return drops


def block_drops(block: str, tool: str | None, rng: random.Random) -> Drops:
    """Return what ``block`` drops when broken with ``tool`` (None: the hand), as (item, count) pairs."""
    if not harvests(block, tool):
        return []
    found = _pools("blocks", block)
    if found is not None:
        return _roll(found[0], found[1], tool, rng)
    return [(block, 1)] if is_item(block) and BLOCKS[block].hardness >= 0 else []


def block_pools(block: str) -> list[list[dict[str, Any]]] | None:
    """Return a block's loot table with every name filled in, for worlds that roll it themselves; None: it drops itself.

    A pool's first choice that applies counts: ``tool`` (only with it), ``p`` (chance), ``times`` ([tries, chance]) or ``n``
    ([least, most]) for the count, ``item`` or ``one_of``.
    """
    found = _pools("blocks", block)
    return None if found is None else _filled(*found)


def mob_pools(mob: str) -> list[list[dict[str, Any]]]:
    """Return all that a mob leaves, in the form of :func:`block_pools`."""
    found = _pools("mobs", mob)
    besides = facts()["loot"]["besides"].get(mob, [])
    return [*(_filled(*found) if found is not None else []), *_filled(besides, "")]


def _filled(pools: list[Any], part: str) -> list[list[dict[str, Any]]]:
    return [[{**c, "item": c["item"].format(part)} if "item" in c else dict(c) for c in pool] for pool in pools]


def mob_table_drops(mob: str, rng: random.Random) -> Drops:
    """Return what the loot table of ``mob`` gives when the player kills it, as (item, count) pairs."""
    found = _pools("mobs", mob)
    return _roll(found[0], found[1], None, rng) if found is not None else []


def mob_drops(mob: str, rng: random.Random) -> Drops:
    """Return all that ``mob`` leaves when the player kills it: its table's, then what vanilla adds in code."""
    besides = facts()["loot"]["besides"].get(mob, [])
    return [*mob_table_drops(mob, rng), *_roll(besides, "", None, rng)]
