"""Compute ``peers.json``: what other published implementations return on inputs of ours.

    python -m venv peers && peers/bin/pip install trl==1.16.0 && git clone https://github.com/volcengine/verl
    peers/bin/python tests/golden/peers.py path/to/verl tests/golden/peers.json

Nothing of theirs is in this repository: their functions are imported from their packages and called. verl's commit is
recorded; packages that verl imports but the called functions do not use (ray, hydra, …) are replaced by empty modules.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch

torch.set_num_threads(1)
torch.manual_seed(20261124)
LENGTHS = [6, 3, 5, 1, 4, 6]
SHAPE = (len(LENGTHS), max(LENGTHS))
MASK = torch.arange(SHAPE[1])[None] < torch.tensor(LENGTHS)[:, None]
MASK[0, 2] = False  # a hole: what an environment wrote between two turns
OLD = -torch.rand(SHAPE) * 2
NEW = OLD + torch.randn(SHAPE) * 0.3 + torch.tensor([0.4, -0.5, 0.1, 0.6, 0.2, -0.1])[:, None]  # clipped on either side
REF = OLD + torch.randn(SHAPE) * 0.3
SAMPLER = OLD + torch.randn(SHAPE) * 0.5
ENTROPY = torch.rand(SHAPE) * 2
ADVANTAGES = torch.tensor([1.2, -0.7, 0.4, -1.5, 0.0, 0.9])
LOW, HIGH, DUAL, BETA, MAX_LENGTH = 0.2, 0.28, 1.3, 0.04, 10
RETURNS = torch.tensor([1.0, 0.0, 0.5, -0.3, 1.0, 1.0, 1.0, 0.25, 0.0, 0.7, 2.0, 0.0])
GROUP = ["a", "b", "a", "c", "a", "b", "c", "c", "b", "a", "c", "b"]


def number(value: torch.Tensor) -> Any:
    return value.detach().double().tolist()


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives an empty module for every package that is not installed."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.startswith(("verl", "trl", "torch", "transformers")):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__name__ = spec, [], spec.name
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing."""


def trl_loss(loss_type: str, level: str, delta: float | None, beta: float, weights: bool, entropy_coef: float) -> Any:
    """``GRPOTrainer._compute_loss`` with the model's log-probs given."""
    from trl import GRPOTrainer

    new = NEW.clone().requires_grad_()
    same = SimpleNamespace(
        reduce=lambda x, reduction: x,
        gather=lambda x: x,
        num_processes=1,
        sync_gradients=True,
        gather_for_metrics=lambda x: x,
    )
    log: dict[str, dict[str, list[float]]] = {"train": MetricLog()}
    me = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (new, ENTROPY, None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        beta=beta,
        args=SimpleNamespace(delta=delta, use_bias_correction_kl=False, steps_per_generation=1),
        loss_type=loss_type,
        epsilon_low=LOW,
        epsilon_high=HIGH,
        use_vllm=weights,
        vllm_importance_sampling_correction=weights,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        max_completion_length=MAX_LENGTH,
        accelerator=same,
        _entropy_bonus_enabled=entropy_coef > 0,
        use_adaptive_entropy=False,
        entropy_coef=entropy_coef,
        _metrics=log,
    )
    inputs = {
        "prompt_ids": torch.ones(SHAPE[0], 2, dtype=torch.int64),
        "prompt_mask": torch.ones(SHAPE[0], 2, dtype=torch.int64),
        "completion_ids": torch.ones(SHAPE, dtype=torch.int64),
        "completion_mask": MASK.long(),
        "advantages": ADVANTAGES,
        "old_per_token_logps": OLD,
        "ref_per_token_logps": REF,
        "num_items_in_batch": MASK.sum(),
        "importance_sampling_ratio": ((OLD - SAMPLER) * MASK).exp().clamp(max=2.0),
    }
    loss = GRPOTrainer._compute_loss(me, None, inputs)
    loss.backward()
    found = {name: values[0] for name, values in log["train"].items() if name.endswith(("low_mean", "high_mean", "kl"))}
    return {"value": float(loss.detach()), "grad_new": number(new.grad), **found}


class MetricLog(dict):
    def __missing__(self, key: str) -> list[float]:
        self[key] = []
        return self[key]


def trl_cases() -> dict[str, Any]:
    cases = {}
    for loss_type in ("grpo", "dapo", "dr_grpo"):
        for level in ("token", "sequence"):
            for delta, beta, weights, entropy in (
                (None, 0.0, False, 0.0),
                (DUAL, 0.0, False, 0.0),
                (None, BETA, False, 0.0),
                (None, 0.0, True, 0.0),
                (DUAL, BETA, True, 0.0),
                (None, 0.0, False, 0.01),
            ):
                if entropy and loss_type != "dapo":
                    continue  # TRL takes the bonus per token whatever the aggregation; ours is aggregated like the rest
                name = f"{loss_type}|{level}|delta={delta}|beta={beta}|importance={weights}|entropy={entropy}"
                cases[name] = trl_loss(loss_type, level, delta, beta, weights, entropy)
    return cases


def verl_cases(source: Path) -> dict[str, Any]:
    sys.path.insert(0, str(source))
    sys.meta_path.append(Missing())
    for name in (
        "workers.config.ActorConfig",
        "workers.config.actor.PolicyLossConfig",
        "trainer.config.AlgoConfig",
        "trainer.config.algorithm.RolloutCorrectionConfig",
    ):
        # Only isinstance and annotations ask for these; their own modules need an older transformers.
        module, _, kind = name.rpartition(".")
        holder = sys.modules.setdefault(f"verl.{module}", ModuleType(f"verl.{module}"))
        setattr(holder, kind, type(kind, (), {}))
    import numpy as np
    from verl.trainer.ppo import core_algos as core
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights

    class Config(core.ActorConfig):
        def __init__(self, c: float) -> None:
            self.clip_ratio = self.clip_ratio_low = LOW
            self.clip_ratio_high, self.clip_ratio_c, self.global_batch_info = HIGH, c, {}

        def get(self, name: str, default: Any = None) -> Any:
            return getattr(self, name, default)

    mask = MASK.float()
    wide = ADVANTAGES[:, None].expand(SHAPE)
    weights = compute_rollout_correction_weights(OLD - SAMPLER, mask)[0]
    cases: dict[str, Any] = {"loss": {}, "aggregate": {}, "kl": {}, "advantages": {}, "importance": {}}
    for how in ("token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"):
        cases["aggregate"][how] = float(core.agg_loss(NEW, mask, how))
        for c, corrected in ((1e9, False), (DUAL, False), (DUAL, True)):
            new = NEW.clone().requires_grad_()
            loss, metrics = core.compute_policy_loss_vanilla(
                OLD, new, wide, mask, how, Config(c), rollout_is_weights=weights if corrected else None
            )
            loss.backward()
            cases["loss"][f"vanilla|{how}|c={c:g}|importance={corrected}"] = {
                "value": float(loss.detach()), "grad_new": number(new.grad), "clip_fraction": metrics["actor/pg_clipfrac"]
            }  # fmt: skip
    new = NEW.clone().requires_grad_()
    loss, _ = core.compute_policy_loss_gspo(OLD, new, wide, mask, config=Config(1e9))
    loss.backward()
    cases["loss"]["gspo"] = {"value": float(loss.detach()), "grad_new": number(new.grad)}
    for name in ("k1", "k2", "k3"):
        new = NEW.clone().requires_grad_()
        value = core.kl_penalty(new, REF, name)
        (value * mask).sum().backward()
        cases["kl"][name] = {"value": number(value), "grad_of_masked_sum": number(new.grad)}
    one, index = torch.ones(len(RETURNS), 1), np.array(GROUP)
    for name, function, more in (
        ("grpo", core.compute_grpo_outcome_advantage, {}),
        ("grpo without std", core.compute_grpo_outcome_advantage, {"norm_adv_by_std_in_grpo": False}),
        ("rloo", core.compute_rloo_outcome_advantage, {}),
        ("reinforce++ baseline", core.compute_reinforce_plus_plus_baseline_outcome_advantage, {}),
    ):
        result, _ = function(RETURNS[:, None].clone(), one, index, **more)
        cases["advantages"][name] = number(result[:, 0])
    for level in ("token", "sequence"):
        cases["importance"][level] = number(
            compute_rollout_correction_weights(OLD - SAMPLER, mask, rollout_is=level, rollout_is_threshold=1.5)[0]
        )
    return cases


def main() -> None:
    verl, target = Path(sys.argv[1]), Path(sys.argv[2])
    import trl

    given = {
        "old": OLD,
        "new": NEW,
        "ref": REF,
        "sampler": SAMPLER,
        "entropy": ENTROPY,
        "advantages": ADVANTAGES,
        "returns": RETURNS,
    }
    content = {
        "about": "Computed by tests/golden/peers.py; see there.",
        "provenance": {
            "trl": {"version": trl.__version__, "function": "GRPOTrainer._compute_loss"},
            "verl": {
                "version": (verl / "verl/version/version").read_text().strip(),
                "commit": sys.argv[3] if len(sys.argv) > 3 else subprocess.check_output(
                    ["git", "-C", str(verl), "rev-parse", "HEAD"], text=True
                ).strip(),
                "functions": "core_algos: agg_loss, compute_policy_loss_vanilla, compute_policy_loss_gspo, kl_penalty, "
                "compute_*_outcome_advantage; rollout_corr_helper: compute_rollout_correction_weights",
            },
            "torch": torch.__version__,
        },
        "inputs": {
            **{name: number(value) for name, value in given.items()},
            "mask": MASK.tolist(),
            "group": GROUP,
            "clip_low": LOW, "clip_high": HIGH, "dual_clip": DUAL, "beta": BETA, "max_length": MAX_LENGTH,
        },
        "trl": trl_cases(),
        "verl": verl_cases(verl),
    }  # fmt: skip
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
