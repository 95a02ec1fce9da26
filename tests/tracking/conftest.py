import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tracking_kit.py, shared by the tests of this directory

from tracking_kit import FakeMlflow

from crossagent.tracking.mlflow import sender


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    """Take the place of MLflow's client; the sender looks every 20 ms."""
    fake = FakeMlflow()
    monkeypatch.setattr("mlflow.tracking.MlflowClient", lambda tracking_uri: fake)
    monkeypatch.setattr(sender, "SEND_EVERY_S", 0.02)
    monkeypatch.setattr(sender, "BACK_OFF_S", (0.02, 0.05))
    return fake
