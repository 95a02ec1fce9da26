from __future__ import annotations

import subprocess
import sys

import pytest

from crossagent.errors import RecipeError
from crossagent.policy.config import SCRATCH, LoraConfig, PolicyConfig, PromptConfig


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolicyConfig(model="scratch-0.2"), r"policy.model preset 'scratch-0.2'. Did you mean 'scratch-0.2m'"),
        (lambda: PolicyConfig(model=""), "policy.model is empty"),
        (lambda: PolicyConfig(tokenizer_vocab=10), "policy.tokenizer_vocab: got 10; expected at least 300"),
        (lambda: PolicyConfig(dtype="fp32"), "policy.dtype value 'fp32'"),
        (lambda: PolicyConfig(attention="spda"), "Did you mean 'sdpa'"),
        (lambda: PolicyConfig(max_length=1), "policy.max_length: got 1"),
        (lambda: LoraConfig(r=0), "policy.lora.r: got 0; expected at least 1"),
        (lambda: LoraConfig(dropout=1.0), "policy.lora.dropout: got 1.0"),
        (lambda: LoraConfig(targets=[]), "policy.lora.targets is empty"),
        (lambda: PromptConfig(style="chatml"), "prompt.style value 'chatml'. Did you mean 'chat'"),
        (lambda: PromptConfig(fragments="header"), "Did you mean 'headers'"),
        (lambda: PromptConfig(history=-2), "prompt.history: got -2"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


def test_every_preset_is_accepted():
    assert len(SCRATCH) >= 5
    for name in SCRATCH:
        assert PolicyConfig(model=name).model == name


def test_the_configs_load_no_torch():
    code = "import sys, crossagent.policy.config; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
