"""A small world that answers as a game would, for the tests of everything around one. Stands in for MineRL in tests only.

A player on a line: ``forward`` moves him; ``attack`` at the tree (z ≥ 3) gives a log every fourth tick; macros craft.
"""

import os
import time

import numpy as np


class Game:
    def __init__(self, options):
        self.options = options
        if options.get("broken"):
            raise RuntimeError("the engine is not\nbuilt")

    def about(self):
        return {"tasks": {}}

    def reset(self, task, seed, setup):
        if self.options.get("no_reset"):
            raise RuntimeError("no display")
        self.rng = np.random.default_rng(seed)
        self.task, self.z, self.angle = task, float(self.rng.integers(0, 3)), float(self.rng.integers(0, 90))
        self.drift = int(time.time_ns() % 1000) if self.options.get("drifts") else 0
        self.items, self.ticks, self.held = {}, 0, ""
        return self.frame(0.0)

    def step(self, action):
        if action.get("sneak") and "on_sneak" in self.options:
            {"exit": lambda: os._exit(3), "hang": lambda: time.sleep(60), "garbage": lambda: None}[
                self.options["on_sneak"]
            ]()
            return {"nonsense": 1}
        self.ticks += 1
        gained = 0.0
        self.z += 0.25 * action.get("forward", 0)
        self.angle += action.get("camera", [0, 0])[1]
        if action.get("attack") and self.z >= 3 and self.ticks % 4 == 0:
            self.items["log"] = self.items.get("log", 0) + 1
            gained = 1.0
        if action.get("craft") == "planks" and self.items.get("log"):
            self.items["log"] -= 1
            self.items["planks"] = self.items.get("planks", 0) + 4
        if action.get("place") == "planks" and self.items.get("planks"):
            self.items["planks"] -= 1
        if action.get("equip") and self.items.get(action["equip"]):
            self.held = action["equip"]
        return self.frame(gained)

    def frame(self, reward):
        pov = (
            np.full((4, 6, 3), (self.ticks + int(self.angle) + self.drift) % 256, np.uint8)
            if self.options.get("pov")
            else None
        )
        return {
            "pov": pov,
            "inventory": [[None, n, c] for n, c in sorted(self.items.items()) if c],
            "held": self.held,
            "gui": False,
            "place": [0.5, 64.0, self.z, 0.0, self.angle],
            "life": 20.0,
            "counts": {},
            "compass": 12.4,
            "reward": reward,
            "done": self.z > 50,
        }

    def close(self):
        pass
