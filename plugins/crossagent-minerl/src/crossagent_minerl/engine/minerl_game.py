"""MineRL 0.4.4 (Minecraft 1.11) behind :mod:`serve`. Runs under MineRL's interpreter; imports nothing of crossagent."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

_CHOICES = ("craft", "nearbyCraft", "nearbySmelt", "place", "equip")
"""Actions that name an item; ``none`` does nothing."""


class Game:
    """One game at a time; the process of Minecraft starts with the first reset."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        warnings.simplefilter("ignore")
        import gym
        import minerl

        self._gym, self._root = gym, os.path.dirname(minerl.__file__)
        self._env: Any = None
        self._name = ""
        self._pov = options.get("pov", True)

    def _make(self, task: str) -> Any:
        if self._name != task:
            self.close()
            self._env, self._name = self._gym.make(task), task
        return self._env

    def about(self) -> dict[str, Any]:
        """Return every task's actions, named choices, items and step limit."""
        found = {}
        for spec in sorted(self._gym.envs.registration.registry.env_specs):
            if not spec.startswith("MineRL") or "Vector" in spec:
                continue
            env = self._gym.make(spec)
            actions, seen = env.action_space.spaces, env.observation_space.spaces
            found[spec] = {
                "actions": sorted(actions),
                "choices": {n: sorted(actions[n].values.tolist()) for n in _CHOICES if n in actions},
                "items": sorted(seen["inventory"].spaces) if "inventory" in seen else [],
                "pov": list(seen["pov"].shape),
                "max_ticks": self._gym.spec(spec).max_episode_steps,
            }
        return {"tasks": found}

    def reset(self, task: str, seed: int, setup: Mapping[str, Any]) -> dict[str, Any]:
        """Begin an episode; what a task needs is part of MineRL's own mission."""
        built = os.path.join(self._root, "Malmo", "Minecraft", "build")
        if not os.path.isdir(built):
            raise RuntimeError(
                "MineRL's engine is not built (no {}); it needs a JDK 8 and a network: crossagent minerl install".format(
                    os.path.join("minerl", "Malmo", "Minecraft", "build")
                )
            )
        env = self._make(task)
        env.seed(seed)
        return self._frame(env.reset(), 0.0, False)

    def step(self, action: Mapping[str, Any]) -> dict[str, Any]:
        """Play one tick."""
        whole = self._env.action_space.noop()
        for name, value in action.items():
            if name not in whole:
                raise ValueError(f"{name}: no action of {self._name}")
            whole[name] = value
        seen, reward, done, _ = self._env.step(whole)
        return self._frame(seen, float(reward), bool(done))

    def _frame(self, seen: Mapping[str, Any], reward: float, done: bool) -> dict[str, Any]:
        held = seen.get("equipped_items", {}).get("mainhand", {}).get("type", "")
        counts = {n: int(c) for n, c in seen.get("inventory", {}).items()}
        frame: dict[str, Any] = {
            "pov": seen["pov"] if self._pov else None,
            "inventory": [[None, n, c] for n, c in sorted(counts.items()) if c and n != "air"],
            "held": "" if held in ("none", "air") else str(held),
            "gui": False,
            "place": None,
            "life": None,
            "counts": {},
            "reward": reward,
            "done": done,
        }
        if "compass" in seen:
            frame["compass"] = float(seen["compass"]["angle"])
        return frame

    def close(self) -> None:
        """End the process of Minecraft."""
        env, self._env, self._name = self._env, None, ""
        if env is not None:
            env.close()
