from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from crossagent.policy.tokenizer import SPECIAL, train_tokenizer

from .conftest import OBSERVATION, RESPONSES, TEXTS

TOKENIZER = train_tokenizer(TEXTS)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def tokens(text: str) -> list[str]:
    return TOKENIZER.convert_ids_to_tokens(ids(text))


PIECES = st.sampled_from(
    [
        "oak_log",
        "Api:",
        " ",
        "  ",
        "(",
        ")",
        "-",
        "12",
        "1734",
        "_",
        "\n",
        "\x1f",
        "\x1f ",
        "\x1f!",
        "é",
        "日本",
        "\t",
        "🪓",
        ",",
        "x",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_any_text_comes_back_exactly(text):
    assert TOKENIZER.decode(ids(text), skip_special_tokens=False) == text


@settings(max_examples=200, deadline=None)
@given(st.text(), st.text())
def test_pieces_tokenized_apart_join_to_the_text(left, right):
    assert TOKENIZER.decode(ids(left) + ids(right), skip_special_tokens=False) == left + right


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(TOKENIZER) - 1)))
def test_decoding_never_raises_whatever_was_sampled(sampled):
    assert isinstance(TOKENIZER.decode(sampled, skip_special_tokens=False), str)


def test_a_name_is_the_same_tokens_in_an_observation_and_in_an_action():
    name = ids(" oak_log")
    assert len(name) == 2
    for text in ("near: oak_log 3 n", "Api: mine(oak_log)", "near:\noak_log"):
        at = ids(text)
        assert any(at[i : i + 2] == name for i in range(len(at))), tokens(text)


def test_small_numbers_are_one_token_each():
    for number in (0, 7, 64, 128):
        assert len(ids(f" {number}")) == 1
    assert tokens("(40, -20)")[1:] == ["Ġ40", ",", "Ġ-20", ")"]
    assert tokens("(-20, 40)")[1:] == ["Ġ-20", ",", "Ġ40", ")"]


def test_texts_of_the_corpus_are_short():
    assert len(ids(OBSERVATION)) <= 45
    assert [len(ids(text)) for text in RESPONSES] == [7, 6, 18]


def test_the_vocabulary_keeps_its_bound_and_special_tokens_their_ids():
    small = train_tokenizer(TEXTS, 320, ["<|mine|>"])
    assert len(small) <= 320
    assert small.convert_tokens_to_ids([*SPECIAL, "<|mine|>"]) == list(range(len(SPECIAL) + 1))
    text = f"{OBSERVATION}<|mine|>"
    assert small.decode(small.encode(text, add_special_tokens=False)) == text
    assert small.encode("<|mine|>", add_special_tokens=False) == [len(SPECIAL)]


def test_the_order_of_the_texts_does_not_matter():
    shuffled = list(TEXTS) * 2
    random.Random(1).shuffle(shuffled)
    first = train_tokenizer(list(TEXTS) * 2).backend_tokenizer.to_str()
    assert train_tokenizer(shuffled).backend_tokenizer.to_str() == first


def test_another_process_makes_the_same_tokenizer():
    here = hashlib.md5(TOKENIZER.backend_tokenizer.to_str().encode()).hexdigest()
    code = (
        "import hashlib; from crossagent.policy.tokenizer import train_tokenizer; "
        f"print(hashlib.md5(train_tokenizer({TEXTS!r}).backend_tokenizer.to_str().encode()).hexdigest())"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=_env("7"))
    assert out.stdout.strip() == here


def _env(hash_seed: str) -> dict[str, str]:
    import os

    source = str(Path(__file__).parents[2] / "src")
    return {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": source}


def test_it_loads_as_an_ordinary_tokenizer(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.encode(OBSERVATION, add_special_tokens=False) == ids(OBSERVATION)
    assert again.decode(ids(OBSERVATION)) == OBSERVATION
    assert (again.pad_token, again.eos_token) == ("<|pad|>", "<|end|>")
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    shown = again.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert shown == "<|system|>s<|end|><|user|>u<|end|><|assistant|>"


@pytest.mark.parametrize("text", ["<|end|>", "a<|user|>b"])
def test_special_tokens_in_a_world_s_text_can_be_read_as_text(text):
    split = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert not {t for t in split if t < len(SPECIAL)}
    assert TOKENIZER.decode(split) == text
