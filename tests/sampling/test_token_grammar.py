"""A space's grammar over the tokens of a tokenizer: it takes what the space writes, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from crossagent.errors import CrossAgentError
from crossagent.plugin import ChainSpace, SpaceSet
from crossagent.policy.tokenizer import joint, train_tokenizer
from crossagent.sampling.token_grammar import GrammarTranslator
from crossagent.testing import ToyWorld
from crossagent.testing.grammars import GrammarSampler
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlSpace
from crossagent_gui.space import GuiSpace

llguidance = pytest.importorskip("llguidance", reason="pip install 'crossagent[constrained]'")
hf = pytest.importorskip("llguidance.hf")

SPACES = SpaceSet(
    {
        "api": ApiSpace(),
        "gui": GuiSpace(),
        "control": ControlSpace(),
        "plan": ChainSpace("plan", "Plan:", abstract=ApiSpace(), executable=ControlSpace()),
    }
)
GRAMMAR = SPACES.grammar(ToyWorld())
SPECIAL = "<|go|>"
Accepts = Callable[[str, str], bool]


def ours() -> PreTrainedTokenizerFast:
    return train_tokenizer(["Api: goto(apple)", "Gui: click(5, 6)", "Action: move(2, -20)"], special_tokens=[SPECIAL])


def byte_pairs() -> PreTrainedTokenizerFast:
    """What most language models have: byte-level BPE, a space being part of the word after it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|im_end|>", SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["Api: goto(apple) Gui: click(5, 6) Action: move(2, -20)"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")


@pytest.fixture(params=[ours, byte_pairs])
def accepts(request: pytest.FixtureRequest) -> Accepts:
    """Tell whether the translation of a grammar takes a text, as the tokenizer writes it."""
    tokenizer = request.param()
    tokens = hf.from_tokenizer(tokenizer, eos_token=tokenizer.eos_token_id)
    special = {SPECIAL: tokenizer.convert_tokens_to_ids(SPECIAL)}

    @lru_cache
    def compiled(grammar: str) -> Any:
        translated = GrammarTranslator(special, joint(tokenizer)).translate(grammar)
        return llguidance.LLMatcher(tokens, translated, log_level=0)

    def tell(grammar: str, text: str) -> bool:
        matcher = compiled(grammar)
        assert not matcher.get_error()
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        return matcher.validate_tokens([*ids, tokenizer.eos_token_id]) == len(ids) + 1

    return tell


def test_what_a_space_writes_is_taken_and_what_it_does_not_is_not(accepts: Accepts) -> None:
    draw, sampler = random.Random(0), GrammarSampler(GRAMMAR, "start")
    texts = [sampler.sample(draw, ("apple", "oak_log")) for _ in range(60)]
    assert {text.split(":")[0] for text in texts} == {"Api", "Gui", "Action", "Plan"}
    assert all(accepts(GRAMMAR, text) for text in texts)
    for text in (
        "",
        "Api: goto(apple",
        "Api: fly(apple)",
        "goto(apple)",
        "Api:goto(apple)",
        " Api: goto(apple)",
        "Gui: click(2000, 1)",
    ):
        assert not accepts(GRAMMAR, text), text


@pytest.mark.parametrize(
    ("terminal", "taken", "refused"),
    [
        (r"/[^,(]+/", ["a.b", "x y", "é"], ["a,b", ""]),
        (r"/\d{2}-?\w?/", ["12", "12-x", "12-"], ["1", "12--"]),
        (r"/(a|b(c|\.)*){2}/", ["aa", "bc.a", "abcc"], ["a", "c"]),
        (r"/./", [":", "a"], ["ab"]),
        (r'"a/b\"c"', ['a/b"c'], ["a"]),
    ],
)
def test_regular_expressions_mean_what_they_do_in_python(
    accepts: Accepts, terminal: str, taken: list[str], refused: list[str]
) -> None:
    grammar = f"start: X\nX: {terminal}\n"
    assert [accepts(grammar, text) for text in taken] == [True] * len(taken)
    assert [accepts(grammar, text) for text in refused] == [False] * len(refused)


def test_rules_may_repeat_nest_and_be_empty(accepts: Accepts) -> None:
    grammar = 'start: "f" y* "."?\ny: "(" y ")" | z\nz: | "x"\n'
    for text, taken in {"f": True, "f.": True, "f((x))x": True, "f(x": False, "f..": False}.items():
        assert accepts(grammar, text) == taken, text


def test_special_tokens_are_tokens_and_not_text(accepts: Accepts) -> None:
    grammar = f'start: "A: {SPECIAL}" X*\nX: /x<\\|go\\|>/\n'
    for text, taken in {f"A: {SPECIAL}": True, f"A: {SPECIAL}x{SPECIAL}": True, "A: ": False}.items():
        assert accepts(grammar, text) == taken, text


@pytest.mark.parametrize(
    ("grammar", "says"),
    [
        ("start: nowhere", "no Lark grammar"),
        ('start: "a"i', "flags 'i' cannot be used"),
        ("start: /a(?=b)/", "assert cannot be used in constrained decoding"),
        (rf"start: /({SPECIAL.replace('|', chr(92) + '|')})+/", "cannot be repeated"),
        (r"start: /\x1f/", "which the tokenizer uses itself"),
    ],
)
def test_what_cannot_be_translated_is_named(grammar: str, says: str) -> None:
    with pytest.raises(CrossAgentError, match=says):
        GrammarTranslator({SPECIAL: 7}, joint(ours())).translate(grammar)
