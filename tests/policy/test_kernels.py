"""Compiled layers and Liger's kernels: where they run, where they do not, and that nothing but rounding changes."""

from __future__ import annotations

import copy
import importlib.machinery
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch

from crossagent.errors import MissingExtraError, RecipeError
from crossagent.plugin import SampleRequest, SamplingParams
from crossagent.policy.config import PolicyConfig
from crossagent.policy.kernels import compile_layers, use_liger
from crossagent.policy.model import Policy
from crossagent.sampling.base import GenerateSampler

IDS = torch.arange(7, 39).reshape(2, 16)
MASK = torch.ones_like(IDS)
TARGETS = torch.arange(16).expand(2, 16) >= 4


def tiny(**config: Any) -> Policy:
    return Policy.build(
        PolicyConfig("scratch-0.1m", tokenizer_vocab=320, max_length=64, **config), texts=["a b c"], seed=0
    )


def gradients(policy: Policy) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    policy.zero_grad()
    policy.train()
    output = policy.logprobs(IDS, MASK, TARGETS)
    (output.logprobs.sum() + output.entropy.sum()).backward()
    policy.eval()
    return output.logprobs.detach(), {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let ``torch.compile`` compile nothing, but count the calls of what it returned."""
    calls: list[str] = []

    def compile_(function: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
        assert dynamic

        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(type(self).__name__)
            return function(self, *args, **kwargs)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    return calls


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_passes_run_compiled_and_sampling_does_not(counted: list[str], checkpointing: bool) -> None:
    policy = tiny(gradient_checkpointing=checkpointing)
    compile_layers(policy.layers())
    gradients(policy)
    assert len(counted) == (4 if checkpointing else 2), "each layer, and once more on the way back"
    assert set(counted) == {"LlamaDecoderLayer"}
    GenerateSampler(policy).sample([SampleRequest((5, 6), 0)], SamplingParams(1.0, 3))
    assert len(counted) == (4 if checkpointing else 2)


def test_a_copy_of_a_compiled_policy_computes_with_its_own_weights(counted: list[str]) -> None:
    policy = tiny()
    compile_layers(policy.layers())
    before, _ = gradients(policy)
    other = copy.deepcopy(policy)
    with torch.no_grad():
        for parameter in other.layers()[0].parameters():
            parameter.zero_()
    assert torch.equal(gradients(policy)[0], before)
    assert not torch.allclose(gradients(other)[0], before)
    assert counted


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_layers_change_nothing_but_rounding(checkpointing: bool) -> None:
    policy = tiny(gradient_checkpointing=checkpointing)
    plain, expected = gradients(policy)
    compile_layers(policy.layers())
    fast, found = gradients(policy)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5 * float(value.abs().max()) + 1e-7)


# -- Liger ------------------------------------------------------------------------------------------------------------
def test_liger_that_is_not_installed_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'crossagent\[liger\]'"):
        use_liger(tiny().backbone)


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for the package, whose import needs Triton; returns what it was asked for."""
    asked: list[dict[str, Any]] = []
    package, inner, patch = (types.ModuleType(name) for name in ("liger_kernel", "transformers", "monkey_patch"))
    package.__spec__ = importlib.machinery.ModuleSpec("liger_kernel", None)
    inner._apply_liger_kernel_to_instance = lambda **options: asked.append(options)  # type: ignore[attr-defined]
    patch.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None}  # type: ignore[attr-defined]
    for name, module in (("", package), (".transformers", inner), (".transformers.monkey_patch", patch)):
        monkeypatch.setitem(sys.modules, f"liger_kernel{name}", module)
    return asked


def test_liger_without_a_gpu_is_refused(liger: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"run on GPUs, and there is none here"):
        use_liger(tiny().backbone)
    assert not liger


def test_liger_keeps_its_hands_off_the_loss(liger: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model = tiny().backbone
    use_liger(model)
    assert liger == [{"model": model, "cross_entropy": False, "fused_linear_cross_entropy": False}]
    model.config.model_type = "gpt2"
    with pytest.raises(RecipeError, match=r"no kernels for models of type 'gpt2'"):
        use_liger(model)
