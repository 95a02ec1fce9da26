"""A small world that answers as MineStudio's simulator would, through the adapter's own ``frame``. Stands in for it in tests.

A window opens with ``inventory`` or by ``use`` when there is a table; ``attack`` breaks what the set-up asks for after 3 ticks.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "src" / "crossagent_minestudio" / "engine"))
from minestudio_game import frame


class Game:
    def __init__(self, options):
        self.options = options

    def about(self):
        return {}

    def reset(self, task, seed, setup):
        self.rng = np.random.default_rng(seed)
        self.yaw, self.pitch, self.x = float(self.rng.integers(0, 90)), 0.0, 0.5
        self.gui, self.ticks, self.hits, self.mined = False, 0, 0, {}
        self.table = any("crafting_table" in c for c in setup["commands"])
        self.rewards = setup["rewards"]
        self.slots = {r["slot"]: {"type": r["type"], "quantity": r["quantity"]} for r in setup["inventory"]}
        self.before = {}
        return self.told(0.0)

    def step(self, action):
        self.ticks += 1
        pressed = {n for n in action if n != "camera" and action[n] and n not in self.before}
        pitch, yaw = action.get("camera", (0.0, 0.0))
        reward = 0.0
        if not self.gui:
            self.yaw, self.pitch = self.yaw + yaw, self.pitch + pitch
            self.x += 0.2 * action.get("forward", 0)
            if "use" in pressed and self.table:
                self.gui = True
            self.hits = self.hits + 1 if action.get("attack") else 0
            if self.hits == 3:
                name = self.rewards[0]["objects"][0]
                self.mined[name] = self.mined.get(name, 0) + 1
                reward = 1.0 if self.rewards[0]["event"] == "mine_block" else 0.0
            if "inventory" in pressed:
                self.gui = True
        elif "inventory" in pressed:
            self.gui = False
        self.before = {n for n in action if n != "camera" and action[n]}
        return self.told(reward)

    def told(self, reward):
        width, height = self.options["size"]
        image = np.full((height, width, 3), (self.ticks + int(self.yaw)) % 256, np.uint8)
        held = self.slots.get(0, {"type": "air"})["type"]
        info = {
            "inventory": {i: self.slots.get(i, {"type": "none", "quantity": 0}) for i in range(36)},
            "equipped_items": {"mainhand": {"type": held}},
            "isGuiOpen": self.gui,
            "location_stats": {"xpos": self.x, "ypos": 4.0, "zpos": 0.5, "pitch": self.pitch, "yaw": self.yaw},
            "mine_block": {"stone": 0, **self.mined},
            "kill_entity": {},
        }
        return frame(image if self.options["pov"] else None, info, reward, False)

    def close(self):
        pass
