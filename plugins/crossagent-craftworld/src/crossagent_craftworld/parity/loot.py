"""Loot: the exact distribution of a golden table against draws from ours.

A golden table is a list of pools; a pool draws one of its entries by weight. Golden conditions are read for what
CraftWorld has: no enchantments, killed by the player, ripe crops, the lower half of what is two blocks, one layer.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from crossagent_craftworld.parity.tally import Document, Tally
from crossagent_minecraft_data.blocks import BLOCKS, harvests
from crossagent_minecraft_data.entities import MOBS
from crossagent_minecraft_data.loot import FISH, block_drops, mob_table_drops

DRAWS = 10_000
FEW = 100
"""Draws of a table in which nothing is left to chance."""
_SIGMAS = 5.0
KNOWN_GAPS = {
    "sweet_berry_bush": "vanilla's count (2–3 when ripe) belongs to the pool, and the file has none of pools'"
}
"""Blocks whose row cannot be followed, and why."""
Outcome = tuple[float, str | None, int]
"""probability, item (None: nothing), count."""
Marginals = dict[str, dict[int, float]]
"""item → {count: probability}."""
_CALL = re.compile(r"(not|any|entity|state)[({](.*)[)}]")


class _Reader:
    """Reads the tables of one block or mob, broken with one tool."""

    def __init__(self, table: Any, tool: str | None) -> None:
        self.tool = tool
        ages = [int(a) for a in re.findall(r"state\{age=(\d+)\}", str(table))]
        self.states = {"half=lower", "part=head", "layers=1", f"age={max(ages, default=0)}"}

    def chance(self, conditions: Sequence[str]) -> float:
        return math.prod(self._one(c) for c in conditions)

    def _one(self, condition: str) -> float:
        if condition.startswith("p="):
            return float(condition[2:].partition("(")[0])
        if condition.startswith("tool="):
            return float(condition[5:] == self.tool)
        if condition in ("silk_touch", "killed_by_player"):
            return float(condition == "killed_by_player")
        call = _CALL.fullmatch(condition)
        if call is None:
            raise ValueError(f"unknown condition {condition!r}")
        kind, inner = call.groups()
        if kind == "not":
            return 1.0 - self._one(inner)
        if kind == "any":
            return max(self._one(part) for part in inner.split(","))
        if kind == "entity":
            return float(inner.startswith("this"))
        return float(inner in self.states)

    def entry(self, row: dict[str, Any]) -> list[Outcome]:
        """Return what an entry gives; what is missing to 1 is nothing."""
        if row.get("type") == "alternatives":
            out, left = [], 1.0
            for child in row["children"]:
                here = self.chance(child.get("if", ()))
                out += [(left * here * p, item, n) for p, item, n in self.entry({**child, "if": ()})]
                left *= 1.0 - here
            return self._given(row, out)
        item = row["item"]
        if item == "#loot_table:gameplay/fishing/fish":
            whole = sum(FISH.values())
            return self._given(row, [(weight / whole, fish, 1) for fish, weight in FISH.items()])
        return self._given(row, [(p, item, n) for n, p in self._counts(row).items()])

    def _given(self, row: dict[str, Any], outcomes: list[Outcome]) -> list[Outcome]:
        chance = self.chance(row.get("if", ()))
        return [(p * chance, item, n) for p, item, n in outcomes if p * chance > 0]

    def _counts(self, row: dict[str, Any]) -> dict[int, float]:
        span = row.get("count", [1, 1])
        for conditions, value in row.get("count_if", ()):
            if self.chance(conditions):
                span = value
        if "binomial" in row:
            span = ["binomial", *row["binomial"]]
        if span[0] == "binomial":
            _, n, p = span
            counts = {k: math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)}
        else:
            least, most = int(span[0]), int(span[1])
            counts = dict.fromkeys(range(least, most + 1), 1 / (most - least + 1))
        limit, out = row.get("limit", {}), dict[int, float]()
        for n, p in counts.items():
            n = max(limit.get("min", 0), min(limit.get("max", n), n))
            out[n] = out.get(n, 0.0) + p
        return out

    def pool(self, row: dict[str, Any]) -> list[Outcome]:
        entries = row["entries"]
        weight = sum(e.get("weight", 1) for e in entries)
        outcomes = [(p * e.get("weight", 1) / weight, item, n) for e in entries for p, item, n in self.entry(e)]
        return self._given(row, outcomes)


def expected(table: Sequence[Any], tool: str | None = None) -> Marginals:
    """Return how often each count of each item drops, by a golden table."""
    reader, out = _Reader(table, tool), Marginals()
    for pool in table:
        outcomes = reader.pool(pool)
        for item in {item for _, item, n in outcomes if item is not None and n > 0}:
            counts = {0: 1.0}
            for p, what, n in outcomes:
                if what == item and n > 0:
                    counts[n] = counts.get(n, 0.0) + p
                    counts[0] -= p
            before, summed = out.get(item, {0: 1.0}), dict[int, float]()
            for a, p in before.items():
                for b, q in counts.items():
                    summed[a + b] = summed.get(a + b, 0.0) + p * q
            out[item] = summed
    return out


def drawn(draw: Callable[[random.Random], list[tuple[str, int]]], draws: int) -> Marginals:
    """Return how often each count of each item drops in ``draws`` draws."""
    rng, seen = random.Random(0), dict[str, dict[int, int]]()
    for _ in range(draws):
        got: dict[str, int] = {}
        for item, n in draw(rng):
            got[item] = got.get(item, 0) + n
        for item, n in got.items():
            counts = seen.setdefault(item, {})
            counts[n] = counts.get(n, 0) + 1
    return {
        item: {0: 1 - sum(counts.values()) / draws} | {n: k / draws for n, k in counts.items()}
        for item, counts in seen.items()
    }


def compare(tally: Tally, label: str, draw: Callable[[random.Random], list[tuple[str, int]]], want: Marginals) -> None:
    """Count one case: every frequency within five standard deviations of its probability."""
    sure = all(p < 1e-9 or p > 1 - 1e-9 for counts in want.values() for p in counts.values())
    draws = FEW if sure else DRAWS
    got, wrong = drawn(draw, draws), ""
    for item in sorted(set(got) | set(want)):
        mine, theirs = got.get(item, {0: 1.0}), want.get(item, {0: 1.0})
        for n in sorted(set(mine) | set(theirs)):
            p, f = theirs.get(n, 0.0), mine.get(n, 0.0)
            tally.error = max(tally.error, abs(f - p))
            if abs(f - p) > _SIGMAS * math.sqrt(max(p * (1 - p), 0.0) / draws) + 1e-9 and not wrong:
                wrong = f"{n} {item} in {f:.4f} of {draws} draws, expected {p:.4f}"
    tally.case(label, not wrong, wrong)


def blocks(document: Document) -> Tally:
    """What blocks drop: by hand or with a tool that harvests them, and with shears."""
    tally = Tally("blocks (loot)")
    for name, table in document["blocks"].items():
        if name not in BLOCKS:
            tally.case(name, False, "no such block here")
            continue
        if name in KNOWN_GAPS:
            tally.leave_out(f"{name}: {KNOWN_GAPS[name]}")
            continue
        need = BLOCKS[name].harvest_tools
        tools: list[str | None] = [min(need - {"shears"}, default="shears") if need else None]
        if harvests(name, "shears") and "shears" not in tools:
            tools.append("shears")
        for tool in tools:

            def draw(rng: random.Random, name: str = name, tool: str | None = tool) -> list[tuple[str, int]]:
                return block_drops(name, tool, rng)

            compare(tally, f"{name} with {tool or 'the hand'}", draw, expected(table, tool))
    return tally


def mobs(document: Document) -> Tally:
    """What the loot tables of mobs give; fleece and star, which vanilla adds in code, are no part of them."""
    tally = Tally("mobs (loot)")
    for name, row in document["mobs"].items():
        if name not in MOBS:
            tally.case(name, False, "no such mob here")
            continue

        def draw(rng: random.Random, name: str = name) -> list[tuple[str, int]]:
            return mob_table_drops(name, rng)

        compare(tally, name, draw, expected(row["loot"]))
    return tally
