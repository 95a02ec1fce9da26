"""Public modules of 0.1.0 whose names have changed are still found by their old names."""

from __future__ import annotations

import importlib
import sys

import pytest

from crossagent.moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_is_the_module_of_the_new_name_and_warns(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {MOVED[old]}"):
        found = importlib.import_module(old)
    assert found is importlib.import_module(MOVED[old])
    assert found.__name__ == found.__spec__.name == MOVED[old]


def test_public_names_of_the_first_version_still_import() -> None:
    from crossagent.policy.fast_sampler import FastSampler
    from crossagent.policy.sampler import GenerateSampler
    from crossagent.rollout.batch import collate, rows_from_demonstrations, rows_from_trajectories
    from crossagent.rollout.demos import collect

    from crossagent.pipeline import run, run_recipe
    from crossagent.recipe import load_recipe, validate
    from crossagent.registry import PluginSet, load_plugins
    from crossagent.rollout.loop import Episode, play
    from crossagent.training.data import RolloutDataModule, SFTDataModule
    from crossagent.training.grpo import GRPOModule, train_grpo
    from crossagent.training.sft import SFTModule, train_sft
    from crossagent.training.sources import MtrlSource, StrlSource
    from crossagent.training.stage import StageResult, StageRun

    assert all(
        map(
            callable,
            (
                run, run_recipe, FastSampler, GenerateSampler, load_recipe, validate, PluginSet, load_plugins, collate,
                rows_from_demonstrations, rows_from_trajectories, collect, Episode, play, RolloutDataModule, SFTDataModule,
                GRPOModule, train_grpo, SFTModule, train_sft, MtrlSource, StrlSource, StageResult, StageRun,
            ),
        )
    )  # fmt: skip
