"""CraftWorld's set-ups as MineStudio's callbacks: an inventory, and commands that put blocks and mobs before the player."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from crossagent.plugin import Task
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.placements import placements

NEAR, FAR = 3.0, 5.0
"""Distance of a target whose set-up names none: within a flat neighbourhood that the commands make."""
_CLEAR = 7
"""Blocks to every side of the player that are levelled."""
_SLOTS = 36


def mission(task: Task, seed: int) -> dict[str, Any]:
    """Return what ``minestudio_game.Game.reset`` takes; everything random comes from (task name, seed)."""
    rng = random.Random(f"{task.name}:{seed}")
    setup = task.setup
    goal = setup["goal"]
    return {
        "biome": "plains",
        "inventory": _inventory(setup, rng),
        "commands": _commands(setup, rng),
        "rewards": [
            {
                "event": goal["event"],
                "identity": task.name,
                "objects": [goal["name"]],
                "reward": 1.0,
                "max_reward_times": 1,
            }
        ],
    }


def _inventory(setup: Mapping[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    """Return one row a slot: the hand in slot 0, the rest in drawn slots, most in the hotbar or the first row."""
    rows = [{"slot": 0, "type": setup["hand"], "quantity": 1}] if setup.get("hand") else []
    free = list(range(1, _SLOTS))
    for item, count in setup.get("inventory", ()):
        while count > 0 and free:
            part = min(count, stack_size(item))
            slot = rng.choice([s for s in free if s < 18] or free)
            free.remove(slot)
            rows.append({"slot": slot, "type": item, "quantity": part})
            count -= part
    return rows


def _commands(setup: Mapping[str, Any], rng: random.Random) -> list[str]:
    """Return the commands, in order; ``^`` is the player's own frame, in which z is where he looks."""
    yaw = rng.randrange(360) - 180
    n = _CLEAR
    commands = [
        "/gamerule doMobSpawning false",
        "/gamerule sendCommandFeedback false",
        "/kill @e[type=!player]",
        f"/time set {int(setup.get('time', 0))}",
        f"/execute as @p at @p run fill ~-{n} ~-1 ~-{n} ~{n} ~-1 ~{n} minecraft:grass_block",
        f"/execute as @p at @p run fill ~-{n} ~ ~-{n} ~{n} ~4 ~{n} minecraft:air",
        f"/execute as @p at @p run tp @p ~ ~ ~ {yaw} 0",
    ]
    if setup.get("resistance"):
        commands.append(f"/effect give @p minecraft:resistance 1000000 {int(setup['resistance']) - 1}")
    targets = [(name, None, away) for name, away in setup.get("blocks", ())]
    if setup.get("target_block"):
        targets.append((setup["target_block"], setup.get("support"), setup.get("distance")))
    sides = list(range(-2 * len(targets) + 2, 2 * len(targets), 4))  # side by side, one block between
    for side, (name, support, away) in zip(sides, targets, strict=True):
        forward = min(float(away or rng.uniform(NEAR, FAR)), FAR)
        for (dx, dy, dz), state in placements(name, support)[0]:
            where = f"^{side / 2 + dx:g} ^{dy:g} ^{forward + dz:.1f}"
            commands.append(f"/execute as @p at @p rotated ~ 0 run setblock {where} minecraft:{state}")
    for name, away in setup.get("mobs", ()):
        forward = min(float(away or rng.uniform(NEAR, FAR)), FAR)
        where = f"^{rng.uniform(-1, 1):.1f} ^0.5 ^{forward:.1f}"
        commands.append(f"/execute as @p at @p rotated ~ 0 run summon minecraft:{name} {where}")
    return commands
