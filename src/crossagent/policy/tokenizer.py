r"""The tokenizer of a scratch model: few, whole, copyable tokens, made on the spot from the texts of the task at hand.

Pieces are words, numbers with their sign, ``_suffixes`` of identifiers and single punctuation marks. A word is the *same* token wherever
it stands, so that what an observation names can be copied into an action: the space before it is part of the token, and
where there is none, the mark before it says so (``mine(oak_log)`` → ``␣mine`` ``(⁀`` ``␣oak`` ``_log`` ``)``, in which
``⁀`` takes the following space back). Whole pieces are in the vocabulary; anything else falls back to merges and bytes,
so every text comes back exactly.
"""

from __future__ import annotations

import itertools
import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, END, SYSTEM, TASK, USER, ASSISTANT = (
    "<|pad|>",
    "<|end|>",
    "<|system|>",
    "<|task|>",
    "<|user|>",
    "<|assistant|>",
)
SPECIAL = (PAD, END, SYSTEM, TASK, USER, ASSISTANT)
"""In this order the ids 0…5 of every scratch tokenizer."""

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
NUMBERS = 129
"""0…128 are single tokens whatever the texts hold."""
MERGES = 192
"""Sub-words for words that the texts do not hold."""

_JOIN = "\x1f"
"""No space here. One byte, and not a character that texts hold; where one does, it is escaped."""
_JOINING = "\n" + "".join(sorted(set(string.punctuation) - {"_"}))
"""Characters after which a word that follows directly gets its space, and the character the mark that takes it back."""
_PIECES = (
    r"[ _]?\p{L}+|[ _]?\p{N}+| -\p{N}+"  # a word, a number, the rest of an identifier
    rf"|(?! _[\p{{L}}\p{{N}}]) ?[^\s\p{{L}}\p{{N}}{_JOIN}](?:{_JOIN}(?= ))?"  # punctuation
    rf"|\n(?:{_JOIN}(?= ))?| +(?= )|{_JOIN}!|[\s\S]"
)


def _joint(mark: str) -> str:
    """Match a character that a word or a number, maybe a negative one, follows directly."""
    if mark == "-":  # a sign belongs to its number
        return r"-(?=\p{L})|(?<! )-(?=\p{N})"
    return rf"{re.escape(mark)}(?=[\p{{L}}\p{{N}}]|-\p{{N}})"


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 2048, special_tokens: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Make a tokenizer whose vocabulary is made of the pieces of ``texts``, the commonest first.

    Args:
        texts: What prompts and responses look like; their order does not matter.
        vocab_size: Upper bound, special tokens and the 256 bytes included.
        special_tokens: Further tokens that are never split, e.g. those of the action spaces.

    Returns:
        A fast tokenizer in the Hugging Face layout with a ChatML-like chat template. Decoding what it encoded gives the
        text back exactly. The same texts give the same tokenizer, byte for byte.
    """
    normalizer = normalizers.Sequence(
        [
            normalizers.Replace(_JOIN, _JOIN + "!"),
            *(normalizers.Replace(Regex(_joint(mark)), f"{mark}{_JOIN} ") for mark in _JOINING),
        ]
    )
    pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    counts: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for piece, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)):
            counts[piece] += times

    specials = list(dict.fromkeys((*SPECIAL, *special_tokens)))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces: dict[str, None] = dict.fromkeys(["Ġ" + str(number) for number in range(NUMBERS)])
    pieces.update(dict.fromkeys(sorted(counts, key=lambda piece: (-counts[piece], piece))))
    room = vocab_size - len(specials) - len(alphabet)
    merges = _merges(counts, min(MERGES, room // 4))
    joined = dict.fromkeys(left + right for left, right in merges)
    whole = [piece for piece in pieces if len(piece) > 1 and piece not in joined][: max(0, room - len(joined))]

    vocab = {token: index for index, token in enumerate([*specials, *alphabet, *joined, *whole])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Replace(_JOIN + " ", ""), decoders.Replace(_JOIN + "!", _JOIN)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=specials[2:],
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )


def joint(tokenizer: Any) -> tuple[str, str]:
    """Return (filler, marks) of a tokenizer that :func:`train_tokenizer` made: after a mark its tokens may have the filler,
    which decoding takes out. Empty texts for any other tokenizer.
    """
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"] or {}
    taken_out = [part.get("pattern") for part in decoder.get("decoders", ()) if part.get("content") == ""]
    return (_JOIN + " ", _JOINING) if {"String": _JOIN + " "} in taken_out else ("", "")


def _merges(counts: Counter[str], number: int) -> list[tuple[str, str]]:
    """Learn byte-pair merges over the distinct pieces; ties go to the pair that sorts first."""
    words = [(list(piece), times) for piece, times in sorted(counts.items()) if len(piece) > 1]
    merges: list[tuple[str, str]] = []
    while len(merges) < number:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, _ in words:  # each distinct word once: these merges are for the words not seen
            pairs.update(itertools.pairwise(symbols))
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for symbols, _ in words:
            at = 0
            while at < len(symbols) - 1:
                if (symbols[at], symbols[at + 1]) == best:
                    symbols[at : at + 2] = ["".join(best)]
                at += 1
    return merges
