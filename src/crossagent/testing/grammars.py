"""Random texts of a Lark grammar, and whether a text belongs to it. Needs nothing but lark and a random generator."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_DEPTH = 12
"""Rules nested deeper take their shortest way out, so that every sample ends."""
_REPEAT = 6
"""An open-ended repetition goes on for at most so many more times."""


class GrammarSampler:
    """Draws texts from a Lark grammar and parses them.

    Args:
        grammar: Lark grammar text.
        start: Name of the start rule.

    Raises:
        lark.exceptions.LarkError: The grammar is none.
    """

    def __init__(self, grammar: str, start: str) -> None:
        from lark import Lark

        self._lark = Lark(grammar, start=start, parser="earley", maybe_placeholders=False)
        self._start = start
        self._terminals = {t.name: t.pattern for t in self._lark.terminals}
        self._rules: dict[str, list[list[Any]]] = {}
        for rule in self._lark.rules:
            self._rules.setdefault(rule.origin.name, []).append(list(rule.expansion))
        self._height = self._heights()

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules the author wrote, sorted."""
        return tuple(sorted({str(name) for name in self._rules if not name.startswith("_")}))

    @property
    def terminals(self) -> tuple[str, ...]:
        """Names of the terminals the author wrote (Lark names literals itself), sorted."""
        return tuple(sorted(str(n) for n, p in self._terminals.items() if p.type == "re" and not n.startswith("__")))

    def sample(self, rng: random.Random, words: Sequence[str] = ()) -> str:
        """Return one text, alternatives being equally likely.

        Args:
            rng: Where chance comes from.
            words: Things there are in a world: three times out of four, one of them stands where it may.
        """
        return self._expand(self._start, rng, 0, words)

    def parses(self, text: str) -> bool:
        """Tell whether the grammar generates ``text``."""
        from lark.exceptions import LarkError

        try:
            self._lark.parse(text)
        except LarkError:
            return False
        return True

    def _heights(self) -> dict[str, int]:
        """Return, per rule, how deep its shallowest expansion is."""
        height = dict.fromkeys(self._rules, 10**6)
        changed = True
        while changed:
            changed = False
            for name, expansions in self._rules.items():
                best = min(1 + self._deepest(e, height) for e in expansions)
                if best < height[name]:
                    height[name], changed = best, True
        return height

    def _deepest(self, expansion: list[Any], height: dict[str, int]) -> int:
        return max((0 if s.is_term else height[s.name] for s in expansion), default=0)

    def _expand(self, rule: str, rng: random.Random, depth: int, words: Sequence[str]) -> str:
        expansions = self._rules[rule]
        if depth > _DEPTH:
            expansions = [min(expansions, key=lambda e: self._deepest(e, self._height))]
        parts = []
        for symbol in rng.choice(expansions):
            if symbol.is_term:
                pattern = self._terminals[symbol.name]
                if pattern.type == "str":
                    parts.append(pattern.value)
                    continue
                fitting = [word for word in words if re.fullmatch(pattern.value, word)]
                known = fitting and rng.random() < 0.75
                parts.append(rng.choice(fitting) if known else random_match(pattern.value, rng))
            else:
                parts.append(self._expand(symbol.name, rng, depth + 1, words))
        return "".join(parts)


def random_match(pattern: str, rng: random.Random) -> str:
    """Return a text that the regular expression matches; raises ``ValueError`` for what it cannot invert."""
    return _invert(_parsed(pattern), rng)


@lru_cache(maxsize=256)
def _parsed(pattern: str) -> Any:
    from re import _parser  # the only parse of a regular expression that the library has

    return _parser.parse(pattern)


def _invert(parsed: Any, rng: random.Random) -> str:
    out = []
    for op, argument in parsed:
        match str(op):
            case "LITERAL":
                out.append(chr(argument))
            case "NOT_LITERAL" | "ANY":
                out.append(rng.choice([c for c in string.ascii_letters if c != chr(argument or 0)]))
            case "IN":
                out.append(_one_of(argument, rng))
            case "BRANCH":
                out.append(_invert(rng.choice(argument[1]), rng))
            case "SUBPATTERN":
                out.append(_invert(argument[-1], rng))
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, inner = argument
                out += [_invert(inner, rng) for _ in range(rng.randint(low, min(high, low + _REPEAT)))]
            case "AT":
                pass
            case other:
                raise ValueError(f"cannot draw from a regular expression with {other}")
    return "".join(out)


def _one_of(items: Any, rng: random.Random) -> str:
    """Return one character of a set such as ``[a-z0-9_]`` or ``[^,)]``."""
    negated = bool(items) and str(items[0][0]) == "NEGATE"
    chars: set[str] = set()
    for op, argument in items[1:] if negated else items:
        match str(op):
            case "LITERAL":
                chars.add(chr(argument))
            case "RANGE":
                chars.update(map(chr, range(argument[0], argument[1] + 1)))
            case _:  # a category such as \d or \s
                chars.update(c for c in string.printable if _in_category(c, str(argument)))
    pool = sorted(set(string.printable[:95]) - chars if negated else chars)
    return rng.choice(pool)


def _in_category(char: str, category: str) -> bool:
    classes = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
    kind = category.removeprefix("CATEGORY_")
    hit = re.match(classes[kind.removeprefix("NOT_")], char, re.ASCII) is not None
    return hit != kind.startswith("NOT_")
