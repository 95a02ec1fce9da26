"""Of all tests: they run on the sources of this checkout; hypothesis draws the same examples everywhere."""

import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).parent
# Every plugin of the checkout, also one that is not installed: pytest's own ``pythonpath`` takes no pattern.
sys.path[:0] = [str(source) for source in (ROOT / "src", *sorted(ROOT.glob("plugins/*/src")))]

settings.register_profile("crossagent", deadline=None, derandomize=True, database=None)
settings.load_profile("crossagent")
