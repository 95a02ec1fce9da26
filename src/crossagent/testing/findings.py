"""Small named rules, run one by one: what ``check_action_space`` and ``check_environment`` are made of."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

C = TypeVar("C")
_SHOWN = 3
"""Findings of one rule; the rest would say the same again."""
_RULE_S = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule."""

    rule: str
    message: str
    """What is wrong, on which input, and how to fix it."""

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


def run_rules(rules: Sequence[Callable[[C], Iterable[str]]], case: C) -> list[Finding]:
    """Run every rule; one that raises is itself a finding, so that no rule hides another."""
    findings = []
    for rule in rules:
        name = rule.__name__.strip("_").replace("_", "-")
        messages: list[str] = []
        try:
            with _time_limit(_RULE_S):
                for message in rule(case):
                    messages.append(message)
                    if len(messages) == _SHOWN:
                        break
        except Exception as error:
            messages.append(f"{(rule.__doc__ or '').strip()} Instead, {type(error).__name__} was raised: {error}")
        findings += [Finding(name, message) for message in messages]
    return findings


class _TooLong(Exception):
    pass


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Interrupt an endless loop; only a main thread can."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise _TooLong(f"no end after {seconds:g} s: a loop that waits for the world must also stop at env.over")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
