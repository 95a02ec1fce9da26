"""An advantage estimator of your own: a function on tensors, which the recipe names ``module:function``.

    python examples/custom_advantage.py [KEY=VALUE …]

Ranks instead of returns: who did better than how many of the group, however much better. Its size does not depend on λ.
"""

import sys
from pathlib import Path

import torch

from crossagent.pipeline.recipe_run import run_recipe
from crossagent.registry.plugin_set import load_plugins
from crossagent.testing import toy_environment


def ranks(returns, group, rewards, trajectory, anchor, **options):
    """Return (members that did worse − members that did better) ÷ (group's size − 1), for each turn of a trajectory.

    ``returns`` and ``group`` are [trajectory], the others [turn]; NaN marks a trajectory that does not train.
    """
    together = (group[:, None] == group[None, :]) & returns.isfinite()[None, :]
    ahead = torch.sign(returns[:, None] - returns[None, :]).nan_to_num().where(together, torch.zeros(()))
    advantages = ahead.sum(1) / (together.sum(1) - 1).clamp(min=1)
    return advantages.where(returns.isfinite(), torch.nan)[trajectory]


if __name__ == "__main__":
    plugins = load_plugins().with_(environment=toy_environment())
    run_recipe(Path(__file__).with_suffix(".yaml"), sys.argv[1:], plugins)
