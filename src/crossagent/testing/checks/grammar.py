"""How the actions of a space are written: the rules about its prompt, grammar, text and tokens."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

from crossagent.plugin import Action, InvalidAction
from crossagent.testing.checks.space_case import SpaceCase

_SPECIAL = re.compile(r"<\|[^|>\s]*\|>")
NASTY = (
    "", " ", "\n", "\0", "()", "(((((((", ")", ",", ", ,", " and ", "and and and", "no_op no_op", "-", "--1", "1e9", "NaN",
    "x(" * 50, "click(1, 2, 3)", "move(999999999999999999999, 0)", "press()", "press(,)", "½ ٣ ²", "é\u0301\u202e\U0001f600",
    "\ud800", "a" * 10_000, "%s{0}{}\\", "'\"`", "<|endoftext|>", "\r\n\t\x0b", "click(result)\nclick(result)",
)  # fmt: skip
"""Ends of responses that a model may well write."""


RESERVED_TOKENS = {
    "<|pad|>", "<|end|>", "<|system|>", "<|task|>", "<|user|>", "<|assistant|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|eot_id|>", "<s>", "</s>", "<pad>", "<unk>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<image>",
}  # fmt: skip
"""Special tokens of the tokenizers that policies come with."""


def header(case: SpaceCase) -> Iterator[str]:
    """The header is visible text without blanks at its ends."""
    text = case.space.header
    if not text.strip() or text != text.strip():
        yield f"header is {text!r}; it is tokenized by itself: no blanks at its ends, e.g. 'Toy:' and not 'Toy: '"


def prompt_fragment(case: SpaceCase) -> Iterator[str]:
    """The prompt says how to write the actions, header included."""
    case.env.reset(case.tasks[0], case.seed)
    before = case.env.state_hash()
    fragment = case.space.tokenizer.prompt_fragment(case.env)
    if case.space.header not in fragment:
        yield f"prompt_fragment does not name the header {case.space.header!r}; the model cannot know it otherwise"
    if fragment != case.space.tokenizer.prompt_fragment(case.env):
        yield "prompt_fragment differs between two calls in one state; make it depend on the world alone"
    if case.env.state_hash() != before:
        yield "prompt_fragment changes the world; only look"


def described_once(case: SpaceCase) -> Iterator[str]:
    """Prompt and grammar are the same in every state: they are asked for once per run, before any episode."""
    tokenizer = case.space.tokenizer
    said = [(tokenizer.prompt_fragment(case.env), tokenizer.grammar(case.env))]
    for i, task in enumerate(case.tasks):
        case.env.reset(task, case.seed + i)
        said.append((tokenizer.prompt_fragment(case.env), tokenizer.grammar(case.env)))
        if said[-1] != said[0]:
            what = "prompt_fragment" if said[-1][0] != said[0][0] else "grammar"
            yield f"{what} differs between two states (task {task.name!r}); take from the world only what never changes"


def grammar_parses(case: SpaceCase) -> Iterator[str]:
    """The grammar loads in Lark, and its names cannot collide with another space's."""
    prefix = case.space.name
    try:
        case.load_grammar()
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        yield (
            f"the grammar does not load ({type(error).__name__}: {said}); write it in Lark's syntax, with the start rule "
            f'{prefix}_response, e.g. {prefix}_response: "{case.space.header} " /[a-z]+/'
        )
        return
    for rule in case.sampler.rules:
        if not rule.startswith(f"{prefix}_"):
            yield f"grammar rule {rule!r} may collide with another space's; call it {prefix}_{rule}"
    for terminal in case.sampler.terminals:
        if not terminal.startswith(f"{prefix.upper()}_"):
            yield f"grammar terminal {terminal!r} may collide with another space's; call it {prefix.upper()}_{terminal}"


def grammar_starts_with_header(case: SpaceCase) -> Iterator[str]:
    """Every text of the grammar opens with the header."""
    for text in case.sample():
        if not text.startswith(case.space.header):
            yield f"the grammar generates {text!r}; let its start rule begin with {case.space.header!r}"


def round_trip(case: SpaceCase) -> Iterator[str]:
    """Every text of the grammar decodes, and encodes to itself again."""
    tokenizer = case.space.tokenizer
    for text in case.sample():
        action = tokenizer.decode(text)
        if not isinstance(action, Action):
            yield f"the grammar generates {text!r}, but decode says {action.reason!r}; make the two agree"
            continue
        if action.space != case.space.name:
            yield f"decode({text!r}).space is {action.space!r}; expected {case.space.name!r}"
        again = tokenizer.encode(action)
        if again != text:
            yield f"{text!r} decodes and encodes to {again!r}; let the grammar generate canonical texts only"
        if tokenizer.decode(again) != action:
            yield f"decode(encode(a)) is another action than a = {action!r}; encode must keep everything"


def encode_within_grammar(case: SpaceCase) -> Iterator[str]:
    """What encode writes, the grammar accepts."""
    for text, action in case.actions():
        written = case.space.tokenizer.encode(action)
        if not case.sampler.parses(written):
            yield f"encode writes {written!r} for {text!r}, which the grammar does not accept; constrained decoding could not say it"


def payload_is_json(case: SpaceCase) -> Iterator[str]:
    """A payload survives JSON, in which tuples become lists: trajectories are stored that way."""
    for text, action in case.actions():
        try:
            stored = json.loads(json.dumps(action.payload, allow_nan=False))
        except (TypeError, ValueError) as error:
            yield f"payload {action.payload!r} of {text!r} is no JSON ({error}); use numbers, strings, tuples, dicts"
            continue
        if case.space.tokenizer.encode(Action(case.space.name, stored)) != text:
            yield f"the payload of {text!r} encodes differently after a round trip through JSON; accept lists for tuples"


def decode_is_total(case: SpaceCase) -> Iterator[str]:
    """Decode returns an action or a reason with a span, on any text."""
    rng = random.Random(case.seed)
    head = case.space.header
    texts = [*NASTY, *(head + t for t in NASTY), *(f"{head} {t}" for t in NASTY)]
    for text in case.sample():
        cut = rng.randrange(len(text) + 1)
        texts += [text[:cut], text[cut:], text + text, text.upper(), text.replace(" ", ""), text.replace("(", "[")]
        texts += [text.removeprefix(head), text.removeprefix(head).strip(), "Another:" + text.removeprefix(head)]
        texts += [text[:cut] + chr(rng.choice((0, 40, 44, 0xE9, 0x663, 0x1F600))) + text[cut:]]
    for text in texts:
        shown = repr(text if len(text) < 60 else text[:57] + "…")
        try:
            result: Any = case.space.tokenizer.decode(text)  # the annotation may lie
        except Exception as error:
            yield f"decode({shown}) raised {type(error).__name__}: {error}; return InvalidAction(reason, span)"
            continue
        if not isinstance(result, (Action, InvalidAction)):
            yield f"decode({shown}) returned {result!r}; expected an Action or an InvalidAction"
        elif isinstance(result, Action) and not text.startswith(head):
            yield f"decode({shown}) accepts a text without the header {head!r}; a header elsewhere is no action"
        elif isinstance(result, InvalidAction):
            start, end = result.span
            if not result.reason:
                yield f"decode({shown}) gives no reason; the policy reads it in its next prompt"
            if not 0 <= start <= end <= len(text):
                yield f"decode({shown}) gives the span {result.span}; expected 0 ≤ start ≤ end ≤ {len(text)}"
        elif (once := case.space.tokenizer.encode(result)) and case.space.tokenizer.decode(once) != result:
            yield f"decode({shown}) is {result!r}, which encodes to {once!r}, another action; reject it or keep it whole"


def decode_is_pure(case: SpaceCase) -> Iterator[str]:
    """Decode depends on the text alone: no environment, no randomness, no memory."""
    case.env.reset(case.tasks[0], case.seed)
    before, state = case.env.state_hash(), random.getstate()
    first = [case.space.tokenizer.decode(text) for text in case.sample()]
    second = [case.space.tokenizer.decode(text) for text in reversed(case.sample())][::-1]
    if random.getstate() != state:
        yield "decode draws from the global random generator; it must not: the text alone decides"
    for text, a, b in zip(case.sample(), first, second, strict=True):
        if a != b:
            yield f"decode({text!r}) is {a!r}, then {b!r}; keep no state between calls"
    if case.env.state_hash() != before:
        yield "decode changes the world; that is the executor's part"


def special_tokens_declared(case: SpaceCase) -> Iterator[str]:
    """Special tokens are declared, used and without blanks."""
    declared: Any = case.space.tokenizer.special_tokens()
    if isinstance(declared, str) or not all(isinstance(t, str) and t for t in declared):
        yield f"special_tokens() is {declared!r}; return a tuple of texts, e.g. ('<|{case.space.name}_go|>',)"
        return
    if len(set(declared)) != len(declared):
        yield f"special_tokens() has a token twice: {declared!r}"
    for token in declared:
        if re.search(r"\s", token):
            yield f"special token {token!r} has a blank in it, at which tokenizers split; write it like '<|{case.space.name}_go|>'"
        if token in RESERVED_TOKENS:
            yield f"special token {token!r} is one that models use themselves (a turn would end there); call it '<|{case.space.name}_…|>'"
        for other in declared:
            if other != token and token in other:
                yield f"special token {token!r} is part of {other!r}, so one hides the other; give them names of their own"
    written = {token for text in case.sample() for token in _SPECIAL.findall(text)}
    for token in sorted(written - set(declared)):
        yield f"actions are written with {token!r}, which special_tokens() does not declare; it would be split into pieces"
    for token in declared:
        if not any(token in text for text in case.sample()):
            yield f"special token {token!r} is in none of {len(case.sample())} sampled texts; it would be trained for nothing"


TEXT_RULES: tuple[Callable[[SpaceCase], Iterator[str]], ...] = (
    header,
    described_once,
    prompt_fragment,
    grammar_parses,
    grammar_starts_with_header,
    round_trip,
    encode_within_grammar,
    payload_is_json,
    decode_is_total,
    decode_is_pure,
    special_tokens_declared,
)
"""Every rule here, in the order in which findings are listed."""
