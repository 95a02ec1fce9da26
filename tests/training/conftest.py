import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # training_kit.py, shared by the tests of this directory
