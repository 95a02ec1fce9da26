"""A grammar of texts (Lark) → the same grammar over the tokens of one tokenizer, in llguidance's notation.

Tokens are bytes to llguidance, and an action is what their concatenation says. Three things come between a space's grammar
and that: special tokens, which a grammar of bytes does not know; marks of our own tokenizers that a text does not have
(:func:`crossagent.policy.tokenizer.joint`); and llguidance's habit of forcing the tokens it would write itself, which
would be another distribution than the policy's and is switched off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from re import _parser as regex  # the only parse of a regular expression that the library has
from typing import Any

from lark import Lark
from lark.exceptions import LarkError

from crossagent.errors import CrossAgentError

Ranges = list[tuple[int, int]]
_HEAD = '%llguidance {"no_forcing": true}'
_LAST = 0x10FFFF
_CATEGORIES: Mapping[str, Ranges] = {
    "CATEGORY_DIGIT": [(48, 57)],
    "CATEGORY_SPACE": [(9, 13), (32, 32)],
    "CATEGORY_WORD": [(48, 57), (65, 90), (95, 95), (97, 122)],
}
"""Of ASCII only: what a model may write, not all that it may read."""


class GrammarTranslator:
    """Writes Lark grammars for the tokens of one tokenizer.

    Args:
        special: Special token → id.
        joint: (filler, marks): tokens may have the filler after a mark, where a text has nothing; see
            :func:`crossagent.policy.tokenizer.joint`.
    """

    def __init__(self, special: Mapping[str, int], joint: tuple[str, str] = ("", "")) -> None:
        self._special = special
        longest_first = sorted(special, key=lambda token: (-len(token), token))
        self._split = re.compile("|".join(map(re.escape, longest_first))) if special else None
        self._filler, marks = joint
        self._marks = sorted(map(ord, marks)) if self._filler else []

    def translate(self, grammar: str) -> str:
        """Return the grammar, start rule ``start``, as llguidance reads it.

        Raises:
            CrossAgentError: It is no Lark grammar, or uses what cannot be translated; says what.
        """
        try:
            lark = Lark(grammar, start="start", parser="earley", maybe_placeholders=False)
        except LarkError as error:
            raise CrossAgentError(f"the grammar of the spaces is no Lark grammar: {error}") from error
        terminals = {terminal.name: self._terminal(terminal) for terminal in lark.terminals}
        alternatives: dict[str, list[str]] = {}
        for rule in lark.rules:
            alternatives.setdefault(str(rule.origin.name), [])
        name = {rule: "start" if rule == "start" else f"r{k}" for k, rule in enumerate(alternatives)}
        for rule in lark.rules:
            symbols = [terminals[s.name] if s.is_term else name[s.name] for s in rule.expansion]
            alternatives[str(rule.origin.name)].append(" ".join(symbols) or '""')
        return "\n".join([_HEAD, *(f"{name[rule]}: {' | '.join(said)}" for rule, said in alternatives.items())])

    def _terminal(self, terminal: Any) -> str:
        """Return a terminal as symbols of a rule: regular expressions, and the special tokens between them."""
        pattern = terminal.pattern
        if pattern.flags:
            raise CrossAgentError(
                f"grammar terminal {terminal.name}: the flags {''.join(sorted(pattern.flags))!r} cannot be used in constrained "
                "decoding; write out what they mean, e.g. [Aa] for a case-insensitive a"
            )
        source = re.escape(pattern.value) if pattern.type == "str" else pattern.value
        try:
            return " ".join(self._symbols(list(regex.parse(source))))
        except _Untranslatable as error:
            raise CrossAgentError(
                f"grammar terminal {terminal.name}, /{source}/: {error} in constrained decoding"
            ) from None

    def _symbols(self, parsed: list[Any]) -> Iterator[str]:
        """Yield the parts of a terminal; special tokens stand at its top level only."""
        for text, part in _literal_runs(parsed):
            at = 0
            for match in self._split.finditer(text) if self._split else ():
                if match.start() > at:
                    yield f"/{self._text(text[at : match.start()])}/"
                yield f"<[{self._special[match[0]]}]>"
                at = match.end()
            if part or at < len(text):
                yield f"/{self._text(text[at:])}{self._regex(part)}/"

    def _text(self, text: str) -> str:
        return "".join(self._one_of([(ord(char), ord(char))]) for char in text)

    def _regex(self, parsed: Sequence[Any]) -> str:
        """Return a regular expression over bytes of tokens, from one over text."""
        out = []
        for text, part in _literal_runs(parsed):
            if self._split and self._split.search(text):
                raise _Untranslatable(f"the special token in {text!r} cannot be repeated or be one of several choices")
            out.append(self._text(text))
            for op, argument in part:
                match str(op):
                    case "NOT_LITERAL":
                        out.append(self._one_of(_complement([(argument, argument)])))
                    case "ANY":
                        out.append(self._one_of(_complement([(10, 10)])))
                    case "IN":
                        out.append(self._one_of(_characters(argument)))
                    case "BRANCH":
                        out.append(f"(?:{'|'.join(self._regex(branch) for branch in argument[1])})")
                    case "SUBPATTERN":
                        out.append(f"(?:{self._regex(argument[-1])})")
                    case "MAX_REPEAT" | "MIN_REPEAT":
                        low, high, inner = argument
                        most = "" if high == regex.MAXREPEAT else int(high)
                        out.append(f"(?:{self._regex(inner)}){{{low},{most}}}")
                    case "AT":
                        pass
                    case other:
                        raise _Untranslatable(f"{other.lower()} cannot be used")
        return "".join(out)

    def _one_of(self, ranges: Ranges) -> str:
        """Return one character of these, and after a mark maybe the filler, which no text holds itself."""
        marks = [mark for mark in self._marks if any(low <= mark <= high for low, high in ranges)]
        own = {ord(char) for char in self._filler if char != " "}
        rest = _without(ranges, {*marks, *own})
        parts = [_class(rest)] if rest else []
        if marks:
            parts.append(
                f"{_class([(mark, mark) for mark in marks])}(?:{''.join(map(_escaped, map(ord, self._filler)))})?"
            )
        if not parts:
            raise _Untranslatable(
                f"the character {chr(ranges[0][0])!r}, which the tokenizer uses itself, cannot be used"
            )
        return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


class _Untranslatable(ValueError):
    """What stands in a regular expression that llguidance does not have."""


def _literal_runs(parsed: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield (text, what follows it): the literal characters of a parsed expression together, the rest as it is."""
    text = ""
    part: list[Any] = []
    for op, argument in parsed:
        if str(op) == "LITERAL":
            if part:
                yield text, part
                text, part = "", []
            text += chr(argument)
        else:
            part.append((op, argument))
    if text or part:
        yield text, part


def _characters(items: Sequence[Any]) -> Ranges:
    negated = bool(items) and str(items[0][0]) == "NEGATE"
    ranges: Ranges = []
    for op, argument in items[1:] if negated else items:
        match str(op):
            case "LITERAL":
                ranges.append((argument, argument))
            case "RANGE":
                ranges.append(tuple(argument))
            case _:
                kind = str(argument).replace("NOT_", "")
                if kind not in _CATEGORIES:
                    raise _Untranslatable(f"{argument} cannot be used")
                ranges += _CATEGORIES[kind] if kind == str(argument) else _complement(_CATEGORIES[kind])
    return _complement(ranges) if negated else ranges


def _complement(ranges: Ranges) -> Ranges:
    out, at = [], 0
    for low, high in sorted(ranges):
        if low > at:
            out.append((at, low - 1))
        at = max(at, high + 1)
    return [*out, (at, _LAST)] if at <= _LAST else out


def _without(ranges: Ranges, points: set[int]) -> Ranges:
    return _complement([*_complement(ranges), *((point, point) for point in points)]) if points else ranges


def _class(ranges: Ranges) -> str:
    return f"[{''.join(_escaped(low) if low == high else f'{_escaped(low)}-{_escaped(high)}' for low, high in ranges)}]"


def _escaped(char: int) -> str:
    return f"\\u{{{char:x}}}"
