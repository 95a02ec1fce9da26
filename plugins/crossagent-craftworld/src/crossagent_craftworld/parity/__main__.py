"""``python -m crossagent_craftworld.parity DIR [--json]``: exit 0 all agree, 1 something does not, 2 unreadable input."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from crossagent_craftworld.parity.sections import sections
from crossagent_craftworld.parity.tally import Document, Tally, Unreadable


def read(path: Path) -> Document:
    """Return a parsed golden file; raises :class:`Unreadable`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Unreadable(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("header", {}), dict):
        raise Unreadable(f"{path}: expected a JSON object of sections, with a header of prose")
    return document


def run(path: Path) -> list[Tally]:
    """Return the results of all sections of one file; raises :class:`Unreadable`."""
    document, results = read(path), []
    for name, check in sections(document):
        if check is None:
            tally = Tally(name)
            tally.understood = False
        else:
            try:
                tally = check(document)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
                what = f"{type(error).__name__}: {error}"
                raise Unreadable(
                    f"{path}: section {name!r} has a row that does not follow the format ({what})"
                ) from error
        results.append(tally)
    return results


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise Unreadable(f"{folder}: no such folder; give one that holds golden files (*.json)")
    files = sorted(folder.glob("*.json"))
    if not files:
        raise Unreadable(f"{folder}: holds no golden file (*.json)")
    return files


def _table(results: dict[str, list[Tally]]) -> str:
    lines = []
    for name, tallies in results.items():
        passed, total = sum(t.passed for t in tallies), sum(t.total for t in tallies)
        error = max((t.error for t in tallies), default=0.0)
        lines.append(f"{name}: {passed} / {total} passed, largest error {error:.3g}")
        for t in tallies:
            if not t.understood:
                lines.append(f"  {t.section}: not understood, nothing of it is compared")
                continue
            left = f", {t.listed} not compared" if t.listed else ""
            lines.append(f"  {t.section}: {t.passed} / {t.total}, largest error {t.error:.3g}{left}")
            lines += [f"    note: {note}" for note in t.notes]
            lines += [f"    FAILED {failure[:400]}" for failure in t.failures]
            if t.total - t.passed > len(t.failures):
                lines.append(f"    … and {t.total - t.passed - len(t.failures)} more")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser("python -m crossagent_craftworld.parity", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of golden files (*.json)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    try:
        results = {path.name: run(path) for path in _files(options.folder)}
    except Unreadable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ok = all(t.understood and t.passed == t.total for tallies in results.values() for t in tallies)
    if options.json:
        files = {
            name: {
                "passed": sum(t.passed for t in tallies),
                "total": sum(t.total for t in tallies),
                "largest_error": max((t.error for t in tallies), default=0.0),
                "sections": [t.json() for t in tallies],
            }
            for name, tallies in results.items()
        }
        print(json.dumps({"ok": ok, "files": files}, indent=1))
    else:
        print(_table(results))
        print("all agree" if ok else "NOT all agree")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
