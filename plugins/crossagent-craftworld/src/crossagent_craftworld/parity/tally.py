"""Counting what agrees, and refusing what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = 5
"""Failures kept per section."""


class Unreadable(Exception):
    """A file that is no golden file; the message names the file and the section."""


class Tally:
    """The result of one section."""

    def __init__(self, section: str) -> None:
        self.section = section
        self.passed = 0
        self.total = 0
        self.error = 0.0
        """Largest difference of a number."""
        self.failures: list[str] = []
        """The first of them, in words."""
        self.listed = 0
        """Cases not compared."""
        self.notes: list[str] = []
        """Why cases are not compared, and what else is to be said."""
        self.understood = True

    def check(self, label: str, got: Any, want: Any) -> None:
        """Count a case that must be equal."""
        self.case(label, got == want, f"got {got!r}, expected {want!r}")

    def near(self, label: str, got: float, want: float, tolerance: float) -> None:
        """Count a number that must agree within a tolerance."""
        self.error = max(self.error, abs(got - want))
        self.case(label, abs(got - want) <= tolerance, f"got {got!r}, expected {want!r} ± {tolerance:g}")

    def case(self, label: str, ok: bool, words: str) -> None:
        """Count a case; ``words`` say what is wrong when it fails."""
        self.total += 1
        if ok:
            self.passed += 1
        elif len(self.failures) < SHOWN:
            self.failures.append(f"{label}: {words}")

    def leave_out(self, why: str, count: int = 1) -> None:
        """Count cases that are not compared."""
        self.listed += count
        self.note(why)

    def note(self, words: str) -> None:
        """Say something once."""
        if words not in self.notes:
            self.notes.append(words)

    def json(self) -> dict[str, Any]:
        """Return the result for machines."""
        return {
            "section": self.section, "understood": self.understood, "passed": self.passed, "total": self.total,
            "largest_error": self.error, "not_compared": self.listed, "failures": self.failures, "notes": self.notes,
        }  # fmt: skip


Document = Mapping[str, Any]
"""A parsed golden file."""
