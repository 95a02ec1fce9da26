"""crossagent: one policy that decides, turn by turn, at which level to act."""

from crossagent.moved import install as _install_moved

__version__ = "0.1.0"
_install_moved()
