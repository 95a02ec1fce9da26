import subprocess
import sys

import pytest

from crossagent.algorithms import AGGREGATIONS, BASELINES, KL, LOSSES, RATIOS, SCALES
from crossagent.errors import RecipeError
from crossagent.training import config as training_config
from crossagent.training.config import GRPOConfig, RelabelConfig, SFTConfig, StrlConfig


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        (GRPOConfig, {"group_size": 1}, "group_size: got 1; expected at least 2: a group of one has no baseline"),
        (GRPOConfig, {"clip_low": 0.0}, "clip_low: got 0.0; expected 0 < clip_low < 1"),
        (GRPOConfig, {"clip_high": -0.1}, "clip_high: got -0.1; expected > 0"),
        (GRPOConfig, {"dual_clip": 1.0}, "dual_clip: got 1.0; expected > 1"),
        (GRPOConfig, {"estimator": "gigp"}, "unknown estimator value 'gigp'. Did you mean 'gigpo'?"),
        (GRPOConfig, {"baseline": "median"}, "unknown baseline value 'median'"),
        (GRPOConfig, {"scale": "std"}, "unknown scale value 'std'"),
        (GRPOConfig, {"aggregation": "token_mean"}, "Did you mean 'token-mean'?"),
        (GRPOConfig, {"kl": "k4"}, "unknown kl value 'k4'"),
        (
            GRPOConfig,
            {"kl_in": "reward", "kl_coef": 0.1, "overlong_filter": True},
            "has no KL, and would stand in the baseline",
        ),
        (GRPOConfig, {"kl": "k1", "kl_coef": 0.1}, "k1 in the loss has an expected gradient of 0"),
        (GRPOConfig, {"kl": "k2", "kl_correction": True}, "kl_correction: expected k1 or k3 in the loss"),
        (GRPOConfig, {"single_space_share": 1.5}, "single_space_share: got 1.5; expected 0 to 1"),
        (StrlConfig, {"single_space_share": 0.5}, "single_space_share: STRL compares spaces with each other"),
        (GRPOConfig, {"kl_in": "reward", "kl_correction": True}, "kl_correction: expected k1 or k3 in the loss"),
        (GRPOConfig, {"overlong_buffer": -1}, "overlong_buffer: got -1"),
        (GRPOConfig, {"reference": "sft"}, "reference: got 'sft' with kl_coef 0"),
        (GRPOConfig, {"loss": "clp"}, "Did you mean 'clip'? Or module:function."),
        (GRPOConfig, {"temperature": 0.0}, "temperature: got 0.0; expected > 0"),
        (GRPOConfig, {"minibatches": 200}, "minibatches: got 200; expected at most"),
        (GRPOConfig, {"keep": "best"}, "keep: best needs evaluate_every > 0"),
        (GRPOConfig, {"importance": "mask", "old_logprobs": "sampler"}, "nothing to correct"),
        (GRPOConfig, {"kl_in": "reward", "kl_coef": 0.1, "old_logprobs": "reuse"}, "before the update"),
        (GRPOConfig, {"lr": float("nan")}, "lr: got nan"),
        (StrlConfig, {"horizon": 0}, "horizon: got 0"),
        (StrlConfig, {"estimator": "gigpo"}, "a single turn has no steps"),
        (StrlConfig, {"group_size": 1}, "group_size"),
        (SFTConfig, {"epochs": 0}, "epochs: got 0"),
        (SFTConfig, {"micro_batches": 256}, "micro_batches: got 256; expected at most batch_size"),
        (SFTConfig, {"betas": [0.9, 1.0]}, "betas"),
        (RelabelConfig, {"balance": 0.5}, "balance: got 0.5"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_its_reason(kind: type, values: dict, reason: str) -> None:
    with pytest.raises(RecipeError) as error:
        kind(**values)
    assert reason in str(error.value)


def test_names_are_those_of_the_algorithms() -> None:
    assert training_config.BASELINES == BASELINES
    assert training_config.SCALES == SCALES
    assert tuple(KL) == training_config.KL_ESTIMATES
    assert tuple(LOSSES) == training_config.LOSSES
    assert RATIOS == ("token", "sequence")
    assert set(training_config.AGGREGATIONS) == set(AGGREGATIONS) - {"token-sum"}


def test_the_configuration_loads_no_torch() -> None:
    code = "import sys, crossagent.training.config, crossagent.training.stage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
