"""MineStudio's simulator (Minecraft 1.16.5) behind crossagent_minerl's ``engine/serve.py``. Runs under MineStudio's interpreter;
imports nothing of crossagent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

_STATISTICS = ("craft_item", "kill_entity", "mine_block", "pickup", "use_item", "break_item")
ENGINE = os.path.join("engine", "build", "libs", "mcprec-6.13.jar")
"""Where MineStudio looks for the game, under ``MINESTUDIO_DIR``."""


class Game:
    """One simulator; the process of Minecraft starts with the first reset."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        # MineStudio makes a folder in the temporary one unless it is told where its engine lies.
        from minestudio.simulator.callbacks import CommandsCallback, InitInventoryCallback, RewardsCallback
        from minestudio.simulator.minerl.herobraine.env_specs.human_survival_specs import HumanSurvival
        from minestudio.simulator.minerl.herobraine.hero.mc import ALL_ITEMS
        from minestudio.utils import get_mine_studio_dir

        self._commands, self._inventory, self._rewards = CommandsCallback, InitInventoryCallback, RewardsCallback
        self._survival, self._items = HumanSurvival, ALL_ITEMS
        self._engine = os.path.join(get_mine_studio_dir(), ENGINE)
        self._pov, self._size = options.get("pov", True), tuple(options.get("size", (640, 360)))
        self._sim: Any = None

    def about(self) -> dict[str, Any]:
        """Return the actions, statistics and items of the simulator."""
        spec = self._survival(resolution=self._size, inventory={})
        return {
            "actions": sorted(spec.create_action_space().spaces),
            "observations": sorted(spec.create_observation_space().spaces),
            "items": sorted(self._items),
        }

    def reset(self, task: str, seed: int, setup: Mapping[str, Any]) -> dict[str, Any]:
        """Begin an episode: the world of that seed, then inventory and commands through MineStudio's callbacks."""
        if not os.path.exists(self._engine):
            raise RuntimeError(
                f"MineStudio's engine is not in {os.path.dirname(self._engine)}: crossagent minestudio install"
            )
        from minestudio.simulator import MinecraftSim

        callbacks = [
            self._rewards(setup["rewards"]),
            self._inventory(setup["inventory"]),
            self._commands(setup["commands"]),
        ]
        if self._sim is None:
            self._sim = MinecraftSim(
                action_type="env",
                obs_size=self._size,
                render_size=(640, 360),
                seed=seed,
                preferred_spawn_biome=setup["biome"],
                callbacks=callbacks,
            )
        else:
            self._sim.callbacks = callbacks
            self._sim.env.seed(seed)
        seen, info = self._sim.reset()
        return self._frame(seen, info, 0.0, False)

    def step(self, action: Mapping[str, Any]) -> dict[str, Any]:
        """Play one tick."""
        whole = self._sim.noop_action()
        for name, value in action.items():
            if name not in whole:
                raise ValueError(f"{name}: no action of MineStudio")
            whole[name] = value
        seen, reward, terminated, truncated, info = self._sim.step(whole)
        return self._frame(seen, info, float(reward), bool(terminated or truncated))

    def _frame(self, seen: Mapping[str, Any], info: Mapping[str, Any], reward: float, done: bool) -> dict[str, Any]:
        return frame(seen["image"] if self._pov else None, info, reward, done)

    def close(self) -> None:
        """End the process of Minecraft."""
        sim, self._sim = self._sim, None
        if sim is not None:
            sim.close()


def frame(image: Any, info: Mapping[str, Any], reward: float, done: bool) -> dict[str, Any]:
    """Return a frame from what MineStudio's simulator tells."""
    place = info.get("location_stats")
    if place is not None:
        place = [float(place[n]) for n in ("xpos", "ypos", "zpos", "pitch", "yaw")]
    held = str(info.get("equipped_items", {}).get("mainhand", {}).get("type", ""))
    stacks = info.get("inventory", {})
    life = info.get("life_stats", {}).get("life")
    return {
        "pov": image,
        "inventory": [
            [int(slot), str(stack["type"]), int(stack["quantity"])]
            for slot, stack in sorted(stacks.items(), key=lambda item: int(item[0]))
            if str(stack["type"]) not in ("none", "air") and int(stack["quantity"]) > 0
        ],
        "held": "" if held in ("none", "air") else held,
        "gui": bool(info.get("isGuiOpen", False)),
        "place": place,
        "life": None if life is None else float(life),
        "counts": {kind: {n: int(c) for n, c in info[kind].items() if int(c)} for kind in _STATISTICS if kind in info},
        "reward": reward,
        "done": done,
    }
