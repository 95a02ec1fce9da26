"""What stands between the contents of a conversation: the fixed texts of a chat template, found by sentinels.

A template is rendered once with placeholders and cut at them, so that a prompt is put together from pieces and never
rendered, or tokenized, again: what was sampled stays the ids that were sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from crossagent.errors import RecipeError
from crossagent.policy.tokenizer import ASSISTANT, END, SPECIAL, SYSTEM, TASK, USER

_SYSTEM, _USER, _REPLY = "\ue000sys\ue000", "\ue000u{}\ue000", "\ue000a{}\ue000"
_PLAIN = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + (eos_token if m['role'] == 'assistant' else '') + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""For tokenizers without a chat template."""


@dataclass(frozen=True, slots=True)
class Segments:
    """The fixed texts of a prompt, in the order they appear."""

    start: str
    """Before the system text."""
    after_system: str
    """Between the system text and the first observation."""
    reply: str
    """After an observation: what makes the model answer."""
    after_reply: str
    """Between the end-of-turn token of a response and the next observation."""
    end: str
    """The end-of-turn token."""


COMPACT = Segments(start=SYSTEM, after_system=USER, reply=ASSISTANT, after_reply=USER, end=END)
COMPACT_TASK = TASK
"""Between what is said of the spaces and the instruction."""


def compact_segments(tokenizer: Any) -> Segments:
    """Return the segments of the compact style; raises :class:`RecipeError` where the tokenizer lacks its tokens."""
    vocab = tokenizer.get_vocab()
    missing = [token for token in SPECIAL if token not in vocab]
    if missing:
        raise RecipeError(
            f"prompt.style: compact needs the tokens {', '.join(missing)}, which this model's tokenizer lacks. "
            "Use style: chat, or a scratch model"
        )
    return COMPACT


@lru_cache(maxsize=8)
def chat_segments(tokenizer: Any) -> Segments:
    """Cut the tokenizer's chat template at sentinels.

    A template that has no place for a system message gets that text in front of the first user message.

    Raises:
        RecipeError: The template hides, repeats or reorders contents, or ends no turn with a special token.
    """
    contents = [_SYSTEM, _USER.format(1), _REPLY.format(1), _USER.format(2), _REPLY.format(2), _USER.format(3)]
    roles = ["system", "user", "assistant", "user", "assistant", "user"]
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]
    texts = _cut(tokenizer, messages, contents)
    if texts is None:
        merged = [{"role": "user", "content": f"{contents[0]}\n\n{contents[1]}"}, *messages[2:]]
        texts = _cut(tokenizer, merged, contents)
    if texts is None:
        raise RecipeError(
            "prompt.style: chat cannot use this tokenizer's chat template: it does not render each message once"
        )
    start, after_system, _, after_reply, _, after_second, reply = texts
    end = _end_token(tokenizer, after_reply)
    if after_second != after_reply or end is None:
        raise RecipeError(
            "prompt.style: chat cannot use this tokenizer's chat template: an assistant message must end with a special "
            f"token, the same way every time; got {after_reply!r} and {after_second!r}"
        )
    return Segments(start, after_system, reply, after_reply[after_reply.index(end) + len(end) :], end)


def end_of_turn_id(tokenizer: Any) -> int:
    """Return the id of the token that ends a response."""
    return int(tokenizer.convert_tokens_to_ids(chat_segments(tokenizer).end))


def _cut(tokenizer: Any, messages: list[dict[str, str]], contents: list[str]) -> list[str] | None:
    template = {} if tokenizer.chat_template else {"chat_template": _PLAIN}
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **template)
    except Exception:  # templates raise what they like, e.g. for a system role
        return None
    if any(text.count(content) != 1 for content in contents):
        return None
    texts = []
    for content in contents:
        before, found, text = text.partition(content)
        if not found:
            return None
        texts.append(before)
    return [*texts, text]


def _end_token(tokenizer: Any, after_reply: str) -> str | None:
    """Return the special token that opens ``after_reply`` (white space aside)."""
    specials = sorted(tokenizer.get_added_vocab(), key=lambda token: (-len(token), token))
    if tokenizer.eos_token and tokenizer.eos_token not in specials:
        specials.append(tokenizer.eos_token)
    stripped = after_reply.lstrip()
    return next((token for token in specials if stripped.startswith(token)), None)
