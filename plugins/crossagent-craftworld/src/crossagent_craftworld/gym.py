"""CraftWorld as a Gymnasium environment: ``gymnasium.make("CraftWorld-v0", task="mine_block:oak_log")``.

``import crossagent_craftworld`` registers it where Gymnasium is installed; ``crossagent_craftworld:CraftWorld-v0`` does too.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossagent.plugin import Task
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
from crossagent_minecraft_data import action_dict

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise ImportError("Gymnasium is not installed. Fix: pip install 'crossagent-craftworld[gymnasium]'") from error

LONGEST_TEXT = 4096
_TASK = "mine_block:oak_log"


class CraftWorldEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """One step is one tick, 1/20 s. The action is MineRL's dict, the observation a dict with ``pov``, ``text``, or both.

    A reset without a seed takes the next one of the generator that the last seed began. ``options={"task": …}`` of a
    reset changes the task from then on.

    Args:
        task: Name of a task, or a task.
        observation: ``pixels``, ``text`` or ``both``.
        render_mode: ``rgb_array`` or none.
        options: Of :class:`~crossagent_craftworld.env.CraftWorld`. The camera's are one mouse pixel (0.15°) and 180°
            unless given, so that its degrees are MineRL's.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - the attribute's form in Gymnasium

    def __init__(
        self,
        task: str | Task = _TASK,
        observation: str = "pixels",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode: got {render_mode!r}; expected 'rgb_array' or None")
        self.world = CraftWorld(**{"camera_quantum": 1, "camera_limit": 1200, **options, "observation": observation})
        """The environment behind this one."""
        self.render_mode = render_mode
        self._suite = suite(**options)
        self._task = self._find(task)
        self.action_space = spaces.Dict(
            {name: spaces.Discrete(2) for name in action_dict.NAMES}
            | {"camera": spaces.Box(-180.0, 180.0, (2,), dtype=np.float32)}
        )
        parts: dict[str, spaces.Space[Any]] = {}
        if observation != "text":
            width, height = self.world.view.size
            parts["pov"] = spaces.Box(0, 255, (height, width, 3), dtype=np.uint8)
        if observation != "pixels":
            letters = string.ascii_letters + string.digits + string.punctuation + " "
            parts["text"] = spaces.Text(LONGEST_TEXT, min_length=0, charset=letters)
        self.observation_space = spaces.Dict(parts)
        self._shown = tuple(parts)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; returns (observation, info) with the task's name and instruction in ``info``."""
        super().reset(seed=seed)
        if options is not None and "task" in options:
            self._task = self._find(options["task"])
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self.world.reset(self._task, seed)
        return self._observe(), {"task": self._task.name, "instruction": self._task.instruction, "success": False}

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take one tick; after the end of the episode nothing happens any more."""
        keys, buttons, camera = action_dict.decode(action)
        before = self.world.total_reward
        self.world.interface("control").step(keys, buttons, camera)
        reward = float(self.world.total_reward - before)
        return self._observe(), reward, self.world.terminated, self.world.truncated, {"success": self.world.success}

    def _observe(self) -> dict[str, Any]:
        seen = self.world.observe()
        parts: dict[str, Any] = {"pov": seen.image, "text": seen.text}
        return {name: parts[name] for name in self._shown}

    def render(self) -> NDArray[np.uint8] | None:
        """Return the picture [height, width, 3] in the mode ``rgb_array``."""
        return self.world.view.picture(self.world.world) if self.render_mode == "rgb_array" else None

    def _find(self, task: str | Task) -> Task:
        """Return a task by name; raises ``ValueError`` for an unknown name and for a task that cannot be solved."""
        if isinstance(task, str):
            try:
                task = self._suite.get(task)
            except KeyError:
                raise ValueError(
                    f"task: got {task!r}, which is none. Fix: crossagent tasks craftworld lists them"
                ) from None
        if not task.solvable:
            raise ValueError(f"task {task.name}: cannot be solved ({task.reason}); choose another")
        return task

    # -- state ---------------------------------------------------------------------------------------------------
    def snapshot(self) -> Any:
        """Return the whole state, this environment's own generator included; valid until the next reset."""
        return self.world.snapshot(), self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot exactly; any number of times."""
        state, generator = snapshot
        self.world.restore(state)
        self.np_random.bit_generator.state = generator

    def state_hash(self) -> str:
        """Hash of the world's full state: equal iff the future is equal."""
        return self.world.state_hash()

    def close(self) -> None:
        """Free what the world holds."""
        self.world.close()
