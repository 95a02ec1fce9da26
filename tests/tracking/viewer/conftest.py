import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "ui"))  # made_up.py, shared with the tests in Chromium
from made_up import made_up_run


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("made-up") / "runs" / "made-up")
