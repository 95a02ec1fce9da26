"""Coverage: which benchmark tasks are possible at all, and which of these CraftWorld's suite can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossagent_craftworld.parity.entities import hits_needed
from crossagent_craftworld.parity.tally import Document, Tally
from crossagent_craftworld.suite import suite
from crossagent_minecraft_data.blocks import BLOCKS, dig_ticks, harvests
from crossagent_minecraft_data.cooking import fuel_ticks, smelts
from crossagent_minecraft_data.entities import MOBS
from crossagent_minecraft_data.recipes import Recipe, recipes_for


def affords(recipe: Recipe, have: Mapping[str, int]) -> bool:
    """Return whether a recipe's cells can all be filled from a stock."""
    cells = sorted((options for options in recipe.cells if options), key=len)

    def fill(i: int, left: dict[str, int]) -> bool:
        if i == len(cells):
            return True
        return any(left.get(item, 0) > 0 and fill(i + 1, {**left, item: left[item] - 1}) for item in cells[i])

    return fill(0, dict(have))


def _craft(row: Mapping[str, Any]) -> dict[str, Any]:
    usable = [r for r in recipes_for(row["goal"]) if affords(r, row["init"])]
    return {"ok": bool(usable)} | ({"table": all(r.needs_table for r in usable)} if usable else {})


def _smelt(row: Mapping[str, Any]) -> dict[str, Any]:
    raw = [item for item in row["init"] if smelts(item) == row["goal"]]
    return {"ok": bool(raw) and any(fuel_ticks(item) for item in row["init"])}


def _mine(row: Mapping[str, Any]) -> dict[str, Any]:
    name = row["goal"]
    if name not in BLOCKS:
        return {"exists": False, "ok": False}
    tools = {
        tool: [dig_ticks(name, item), int(harvests(name, item))]
        for tool in row.get("tools", ())
        for item in (None if tool == "hand" else tool,)
    }
    ok = any(ticks >= 0 for ticks, _ in tools.values())
    return {"exists": True, "ok": ok, "tools": tools, "harvest": any(drops for _, drops in tools.values())}


def _kill(row: Mapping[str, Any]) -> dict[str, Any]:
    name = row["goal"]
    if name not in MOBS:
        return {"exists": False, "ok": False}
    hits = {tool: hits_needed(name, None if tool == "hand" else tool) for tool in row.get("hits", ())}
    return {"exists": True, "ok": MOBS[name].health > 0, "hits": hits}


def _interact(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"exists": row["goal"] in BLOCKS, "ok": row["goal"] in BLOCKS}


_KINDS = {
    "craft_item": _craft, "smelt_item": _smelt, "mine_block": _mine, "kill_entity": _kill, "interact_block": _interact,
}  # fmt: skip


def tasks(document: Document) -> Tally:
    """One case is one task: listed by the suite, possible or not as the file says, with its ticks, hits and table."""
    tally = Tally("tasks (coverage)")
    listed = {task.name: task for task in suite().tasks()}
    possible, built = 0, 0
    for name, row in document["tasks"].items():
        if row["c"] not in _KINDS:
            raise ValueError(f"task {name}: unknown category {row['c']!r}")
        got = {"listed": name in listed, **_KINDS[row["c"]](row)}
        want = {"listed": True, **{key: row[key] for key in got if key in row}}
        tally.check(name, {key: got[key] for key in want}, want)
        if row["ok"] and name in listed:
            possible += 1
            built += listed[name].solvable
    tally.note(f"CraftWorld's suite can do {built} of the {possible} tasks that are possible")
    return tally
