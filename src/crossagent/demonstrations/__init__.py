"""Demonstrations and their files, for packages that read or write other formats of them. Loads no torch.

What is saved here is what a recipe takes as ``demonstrations.file``. With :mod:`crossagent.plugin` and
:mod:`crossagent.testing` this is all that a package imports.
"""

from crossagent.demonstrations.collect import load_demonstrations, save_demonstrations
from crossagent.envs.recording import Demonstration, DemoTurn
from crossagent.errors import DataError

__all__ = ["DataError", "DemoTurn", "Demonstration", "load_demonstrations", "save_demonstrations"]
