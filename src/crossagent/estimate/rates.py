"""What a finished run says about the hardware it ran on."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from crossagent.errors import RecipeError
from crossagent.estimate.hardware import Hardware
from crossagent.estimate.inputs import config_of, policy_shape, response_tokens, setting_of, sharding_of, work_of
from crossagent.estimate.steps import Rates, calibrated
from crossagent.recipe.schema import RECIPE_FILE, load_recipe
from crossagent.training.config import GRPOConfig


@dataclass(frozen=True)
class Measured:
    """What a run's iterations were like, on average."""

    rates: Rates
    turns: float
    """Per trajectory."""
    prompt: float
    """Tokens of a trained row before its response."""
    response: float
    """Tokens per turn."""


def measured(run: Path, hardware: Hardware) -> Measured:
    """Return the rates at which the model agrees with a run's metrics, and what its episodes were like; the run was on
    ``hardware``.

    Raises:
        RecipeError: Not a run, or one without iterations of STRL or MTRL.
    """
    composed = run / RECIPE_FILE
    if not composed.is_file():
        raise RecipeError(f"--calibrate: {run} is no run: no {RECIPE_FILE} in it; expected e.g. runs/quickstart")
    recipe = load_recipe(composed)
    for stage in ("mtrl", "strl"):
        rows = _metrics(run / stage / "metrics.jsonl")
        if rows:
            break
    else:
        raise RecipeError(f"--calibrate: {run} has no metrics of strl or mtrl yet; expected a run that has reinforced")
    config = config_of(recipe, stage)
    assert isinstance(config, GRPOConfig)
    mean = {key: statistics.fmean(row.get(key, 0.0) for row in rows) for key in {k for row in rows for k in row}}
    turns = mean.get("rollout/turns", 1.0)
    response = mean.get("rollout/response_tokens", float(response_tokens(recipe, config)))
    trained = mean.get("group/trained", 0.0) / max(1.0, mean.get("rollout/groups", 1.0))
    played = max(1.0, mean.get("rollout/trajectories", 1.0))
    tokens = statistics.fmean(
        row.get("rollout/tokens_per_second", 0.0) * row.get("time/iteration", 0.0) for row in rows
    )
    prompt = max(1.0, tokens / max(1.0, trained * played * turns) - response)
    work = replace(
        work_of(recipe, stage, config, turns, prompt, response), trajectories=round(played), trained=min(1.0, trained)
    )
    sharding = sharding_of(recipe)
    rates = calibrated(setting_of(recipe, policy_shape(recipe), hardware, sharding), work, rows, str(run))
    return Measured(rates, turns, prompt, response)


def _metrics(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]
