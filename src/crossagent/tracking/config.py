"""What a recipe says about tracking. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossagent.errors import RecipeError


@dataclass
class TrackingConfig:
    """Where numbers go besides the run directory."""

    mlflow: bool = True
    """Whether to keep an MLflow store."""
    uri: str | None = None
    """MLflow tracking URI; none: what MLFLOW_TRACKING_URI says, else ``mlflow.db`` in the run directory."""
    experiment: str = "crossagent"
    """MLflow experiment."""
    system_metrics_s: float = 30.0
    """Seconds between samples of processor, memory, disk, network and GPU; 0: none."""
    trajectories: int = 4
    """Trajectories per suite that go to MLflow as traces after each stage; besides, one of each of the iterations 1, 2, 4, 8, …"""
    model: bool = True
    """Send the final model, in Hugging Face layout with a model card."""
    plots: bool = True
    """Draw curves as PNG."""
    report: bool = True
    """Write ``report.html`` after each stage."""
    listeners: list[str] = field(default_factory=list)
    """Functions of yours, ``module:function``, called with (stage, step, metrics) for each row of ``metrics.jsonl``, and with
    ``eval/SUITE/AGENT/…`` and the number of the stage after each evaluation. One that raises is called no more."""

    def __post_init__(self) -> None:
        if self.system_metrics_s < 0:
            raise RecipeError(f"system_metrics_s: got {self.system_metrics_s}; expected seconds, or 0 for none")
        if self.trajectories < 0:
            raise RecipeError(
                f"trajectories: got {self.trajectories}; expected a number of trajectories, or 0 for none"
            )
