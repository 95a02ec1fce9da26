"""Hunger: exhaustion eats saturation, then food; food heals, its lack hurts; eating takes time. Vanilla 1.16.5."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crossagent_craftworld import keyboard, player
from crossagent_minecraft_data.foods import FOODS

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

FULL = 20
SPRINT_METRE, SWIM_METRE, JUMP, SPRINT_JUMP = 0.1, 0.01, 0.05, 0.2
ATTACK, BREAK = 0.1, 0.005
"""Exhaustion of one blow and of one block broken."""
_STEP = 4.0
_STARVES_DOWN_TO = {"peaceful": 20.0, "easy": 10.0, "normal": 1.0, "hard": 0.0}


class Hunger:
    """The player's food."""

    __slots__ = ("eating", "exhaustion", "food", "saturation", "wait")

    def __init__(self) -> None:
        self.food = FULL
        """0…20."""
        self.saturation = 5.0
        self.exhaustion = 0.0
        self.wait = 0
        """Ticks towards the next healing or starving."""
        self.eating = 0
        """Ticks the food in the hand has been eaten for."""

    def save(self) -> tuple[Any, ...]:
        """Return the state, for :meth:`load`."""
        return (self.food, self.saturation, self.exhaustion, self.wait, self.eating)

    def load(self, state: tuple[Any, ...]) -> None:
        """Go back to a :meth:`save`."""
        self.food, self.saturation, self.exhaustion, self.wait, self.eating = state

    def moved(self, world: World, x: float, z: float, jumped: bool) -> None:
        """Count the exhaustion of a tick's motion from (x, z)."""
        metres = math.hypot(world.body.x - x, world.body.z - z)
        if world.body.in_water:
            self.exhaustion += SWIM_METRE * metres
        elif world.sprinting and world.body.on_ground:
            self.exhaustion += SPRINT_METRE * metres
        if jumped:
            self.exhaustion += SPRINT_JUMP if world.sprinting else JUMP

    def eat(self, world: World) -> bool:
        """Chew for one tick of held use; return whether what is held can be eaten now."""
        held = world.inventory.held()
        food = FOODS.get(held[0]) if held is not None else None
        if held is None or food is None or (self.food >= FULL and not food.always):
            self.eating = 0
            return False
        self.eating += 1
        if self.eating < food.ticks:
            return True
        self.eating = 0
        world.inventory.take_held(1)
        self.food = min(FULL, self.food + food.points)
        self.saturation = min(float(self.food), self.saturation + food.saturation)
        world.emit("eat", held[0])
        if food.leaves is not None and world.inventory.add(food.leaves, 1):
            keyboard.throw(world, [(food.leaves, 1)])
        return True

    def tick(self, world: World) -> None:
        """Digest for one tick: heal or starve."""
        if self.exhaustion > _STEP:
            self.exhaustion -= _STEP
            if self.saturation > 0:
                self.saturation = max(0.0, self.saturation - 1)
            else:
                self.food = max(0, self.food - 1)
        hurt = 0 < world.health < 20
        fast = hurt and self.food >= FULL and self.saturation > 0
        starves = self.food == 0
        if not fast and not starves and not (hurt and self.food >= 18):
            self.wait = 0
            return
        self.wait += 1
        if self.wait < (10 if fast else 80):
            return
        self.wait = 0
        if starves:
            if world.health > _STARVES_DOWN_TO[world.difficulty]:
                player.hurt(world, 1.0, world.body.x, world.body.z)
            return
        healed = min(self.saturation, 6.0) / 6 if fast else 1.0
        self.exhaustion += 6 * healed
        world.health = min(20.0, world.health + healed)
