"""Small named rules, run one by one: what ``check_action_space`` and ``check_environment`` are made of."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from crossagent.plugin import Unavailable

C = TypeVar("C")
Case = TypeVar("Case", contravariant=True)
_SHOWN = 3
"""Findings of one rule; the rest would say the same again."""
_RULE_S = 60.0


class Rule(Protocol[Case]):
    """One rule: yields what is wrong with a case; its docstring says what is right."""

    __name__: str

    def __call__(self, case: Case, /) -> Iterable[str]:
        """Yield a message for each fault, which says how to fix it."""


class Unchecked(Exception):
    """Raised in a rule that cannot be looked at until another one is kept, which reports the fault."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule."""

    rule: str
    message: str
    """What is wrong, on which input, and how to fix it."""

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


def run_rules(rules: Sequence[Rule[C]], case: C) -> list[Finding]:
    """Run every rule; one that raises is itself a finding, so that no rule hides another.

    After one that does not end, the others are left out: they would not end either.

    Raises:
        Unavailable: The environment cannot start on this machine.
    """
    findings: list[Finding] = []
    for rule in rules:
        name = rule.__name__.strip("_").replace("_", "-")
        messages: list[str] = []
        try:
            with _time_limit(_RULE_S):
                for message in rule(case):
                    messages.append(message)
                    if len(messages) == _SHOWN:
                        break
        except Unavailable:
            raise
        except Unchecked:
            continue
        except TooLong as error:
            left = len(rules) - rules.index(rule) - 1
            return [
                *findings,
                Finding(name, f"{error}" + (f"; {left} rules after this one were not run" if left else "")),
            ]
        except Exception as error:
            messages.append(f"{(rule.__doc__ or '').strip()} Instead, {type(error).__name__} was raised: {error}")
        findings += [Finding(name, message) for message in messages]
    return findings


class TooLong(BaseException):
    """Raised into a rule that does not end; no ``except Exception`` of a plugin may swallow it."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Interrupt an endless loop; only a main thread can."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise TooLong(f"no end after {seconds:g} s: a loop that waits for the world must also stop at env.over")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
