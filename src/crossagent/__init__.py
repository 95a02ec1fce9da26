"""crossagent: one policy that decides, turn by turn, at which level to act."""

__version__ = "0.1.0"
