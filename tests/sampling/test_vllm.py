"""vLLM as a sampler: the protocol against a stand-in for the package, the contract against vLLM itself where there is one.

``CROSSAGENT_VLLM_PYTHON=/path/to/bin/python`` names an interpreter that has vLLM.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossagent.errors import CrossAgentError, MissingExtraError, RecipeError
from crossagent.plugin import SampleRequest, SamplingParams
from crossagent.policy.config import LoraConfig, PolicyConfig
from crossagent.policy.model import Policy
from crossagent.sampling.vllm import VllmSampler, close_servers
from crossagent.testing import SamplerContract
from crossagent.testing.checks.sampler import SAMPLER_RULES

from .conftest import TEXTS, TINY, tiny_policy
from .test_sampler_contract import plain_logits

PYTHON = os.environ.get("CROSSAGENT_VLLM_PYTHON", sys.executable if importlib.util.find_spec("vllm") else "")
needs_vllm = pytest.mark.skipif(not PYTHON, reason="no vLLM: CROSSAGENT_VLLM_PYTHON names no interpreter that has it")
STAND_IN = '''
import hashlib, os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

assert find_spec("fast_sampler") is None, "the server's neighbours hide packages that are named like them"

class SamplingParams:
    def __init__(self, **more):
        assert more["ignore_eos"] and not more["detokenize"] and more["logprobs"] == len(more["logprob_token_ids"] or [])
        self.__dict__.update(more)

@dataclass
class Logprob:
    logprob: float

@dataclass
class Said:
    token_ids: list
    logprobs: list

@dataclass
class Output:
    outputs: list

class LLM:
    def __init__(self, model, **options):
        assert options["skip_tokenizer_init"] and options["logprobs_mode"] == "processed_logprobs"
        if options.get("fail"):
            raise ValueError("no such kernel")
        self.read(model)

    def read(self, directory):
        data = (Path(directory) / "model.safetensors").read_bytes()
        self.weights = hashlib.sha256(data).digest()[0]

    def collective_rpc(self, method, kwargs):
        assert method == "reload_weights"
        self.read(kwargs["weights_path"])

    def reset_prefix_cache(self):
        pass

    def generate(self, prompts, params, use_tqdm):
        if params[0].seed == 666:
            os._exit(3)
        if params[0].seed == 667:
            raise ValueError("too hot")
        return [Output([self.one(p["prompt_token_ids"], q)]) for p, q in zip(prompts, params)]

    def one(self, prompt, params):
        """Say the prompt's last token, plus what the weights are, as often as the seed says, and end."""
        ids = [(prompt[-1] + self.weights) % 256 + 10] * (params.seed % 5) + params.stop_token_ids
        ids, watched = ids[: params.max_tokens], params.logprob_token_ids or []
        return Said(ids, [{t: Logprob(-t / 1000) for t in [i, *watched]} for i in ids])
'''


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package called vllm, which runs no model, for the processes that are started."""
    (tmp_path / "vllm.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield
    close_servers()


@pytest.fixture(params=[None, LoraConfig(r=2)], ids=["full", "lora"])
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Policy:
    return tiny_policy("scratch-0.1m", tmp_path, lora=request.param)


def test_ids_go_out_and_ids_logprobs_and_the_end_come_back(stand_in: None, policy: Policy) -> None:
    sampler = VllmSampler(policy)
    asked = [SampleRequest((7, 9), 2, (8,), watched_ids=(50,)), SampleRequest((7,), 4), SampleRequest((7,), 0)]
    one, two, three = sampler.sample(asked, SamplingParams(1.0, 4))
    word = one.response_ids[1]
    assert one.response_ids == (8, word, word, policy.eot_id)
    assert one.logprobs == (0.0, -word / 1000, -word / 1000, -policy.eot_id / 1000)
    assert one.watched_logprobs == (-0.05,)
    assert (one.finish_reason, two.finish_reason, three.finish_reason) == ("stop", "length", "stop")
    assert len(two.response_ids) == 4
    assert three.response_ids == (policy.eot_id,)
    assert sampler.timing.new_tokens == 3 + 4 + 1


def test_weights_are_sent_when_they_have_changed_and_one_process_serves_all(stand_in: None, policy: Policy) -> None:
    first = VllmSampler(policy)
    said = [first.sample([SampleRequest((7,), 1)], SamplingParams())[0].response_ids[0]]
    sent: list[Path] = []
    export = policy.export
    policy.export = lambda directory: (sent.append(directory), export(directory))[1]  # type: ignore[method-assign, assignment, func-returns-value]
    for change in (False, True, False, True):
        with torch.no_grad():
            for parameter in policy.parameters() if change else ():
                parameter += 0.5
        said.append(VllmSampler(policy).sample([SampleRequest((7,), 1)], SamplingParams())[0].response_ids[0])
    assert len(sent) == 2
    assert said[0] == said[1] != said[2] == said[3] != said[4]
    import crossagent.sampling.vllm as module

    (server,) = module._servers.values()
    close_servers()
    assert not server.bridge.alive
    assert not Path(server.folder.name).exists()


def test_what_goes_wrong_is_said_and_the_next_call_starts_anew(stand_in: None, tmp_path: Path) -> None:
    policy = tiny_policy("scratch-0.1m", tmp_path)
    sampler = VllmSampler(policy)
    for seed, says in ((666, "it ended"), (667, "ValueError: too hot")):
        with pytest.raises(CrossAgentError, match=f"rollout.sampler: vLLM failed: .*{says}"):
            sampler.sample([SampleRequest((7,), seed)], SamplingParams())
        assert sampler.sample([SampleRequest((7,), 1)], SamplingParams())[0].finish_reason == "stop"
    with pytest.raises(CrossAgentError, match="no such kernel"):
        VllmSampler(policy, engine={"fail": True}).sample([SampleRequest((7,), 1)], SamplingParams())
    with pytest.raises(CrossAgentError, match="keeps to no grammar"):
        sampler.sample([SampleRequest((7,), 1, grammar='start: "a"')], SamplingParams())


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_it_says_what_to_install(tmp_path: Path) -> None:
    policy = tiny_policy("scratch-0.1m", tmp_path)
    with pytest.raises(MissingExtraError, match=r"has no vLLM. Fix: pip install 'crossagent\[vllm\]', or"):
        VllmSampler(policy).sample([SampleRequest((7,), 1)], SamplingParams())
    with pytest.raises(CrossAgentError, match=r"rollout.sampler.options.python: '/nowhere/python' cannot be started"):
        VllmSampler(policy, python="/nowhere/python").sample([SampleRequest((7,), 1)], SamplingParams())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pyton": "x"}, "unknown option 'pyton'. Did you mean 'python'"),
        ({"timeout_s": 0}, "rollout.sampler.options.timeout_s: got 0"),
        ({"engine": {"model": "x"}}, "rollout.sampler.options.engine.model: crossagent sets it itself"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=says):
        VllmSampler(tiny_policy("scratch-0.1m", tmp_path), **options)


# -- vLLM itself -----------------------------------------------------------------------------------------------------
ENGINE = {"dtype": "float32", "enforce_eager": True, "max_model_len": 64, "max_num_seqs": 32}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Policy, VllmSampler]]:
    directory = tmp_path_factory.mktemp("models")
    wide = {**TINY["qwen2"], "vocab_size": 400, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    (directory / "config.json").write_text(json.dumps(wide))  # heads of 32: vLLM has no narrower ones on a CPU
    policy = Policy.build(PolicyConfig(model=str(directory)), texts=TEXTS, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        sampler = VllmSampler(policy, python=PYTHON, engine=ENGINE)
        sampler.sample(
            [SampleRequest((9,), 0)], SamplingParams(1.0, 2)
        )  # it takes a minute to start; rules have one each
        yield policy, sampler
        close_servers()


@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize("rule", [rule.__name__ for rule in SAMPLER_RULES])
def test_vllm_keeps_the_contract_of_samplers(rule: str, real: tuple[Policy, VllmSampler]) -> None:
    policy, sampler_ = real

    class Ours(SamplerContract):
        eot_id, vocabulary, logits = policy.eot_id, range(6, len(policy.tokenizer)), plain_logits(policy)

        @classmethod
        def sampler(cls) -> Any:
            return sampler_

    getattr(Ours(), f"test_{rule}")()


@needs_vllm
@pytest.mark.slow
def test_vllm_follows_the_weights(real: tuple[Policy, VllmSampler]) -> None:
    policy, sampler = real
    asked = [SampleRequest((9, 12, 40), seed, watched_ids=(50, 51)) for seed in range(8)]
    before = sampler.sample(asked, SamplingParams(1.0, 5))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    after = sampler.sample(asked, SamplingParams(1.0, 5))
    assert [s.response_ids for s in after] != [s.response_ids for s in before]
    for request, sample in zip(asked, after, strict=True):
        ids = torch.tensor([[*request.prompt_ids, *sample.response_ids]])
        with torch.no_grad():
            said = policy.logprobs(ids, torch.ones_like(ids), torch.arange(ids.shape[1])[None] >= 3).logprobs[0, 3:]
            first = policy.model(ids[:, :3]).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(torch.tensor(sample.logprobs), said, atol=1e-4, rtol=0)
        assert sample.watched_logprobs == pytest.approx(first[[50, 51]].tolist(), abs=1e-4)


SERVE = """
import json, sys
from vllm import LLM, SamplingParams

if __name__ == "__main__":
    model = LLM(model=sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=128)
    greedy = SamplingParams(temperature=0, max_tokens=12)
    text = model.generate(sys.argv[2], greedy, use_tqdm=False)[0]
    chat = model.chat([{"role": "user", "content": sys.argv[2]}], greedy, use_tqdm=False)[0]
    print(json.dumps([[one.prompt_token_ids, list(one.outputs[0].token_ids)] for one in (text, chat)]))
"""


@needs_vllm
@pytest.mark.slow
def test_vllm_serves_an_export_as_transformers_does(real: tuple[Policy, VllmSampler], tmp_path: Path) -> None:
    policy, said = real[0], "mine an oak log"
    policy.export(tmp_path)
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": said}], add_generation_prompt=True, return_dict=False
    )
    expected = []
    for ids in (tokenizer(said).input_ids, chat):
        whole = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0].tolist()
        expected.append([ids, whole[len(ids) :]])
    environ = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    command = [PYTHON, "-c", SERVE, str(tmp_path), said]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=300, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == expected
