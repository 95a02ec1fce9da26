"""The command ``lightning``: ``lightning run RECIPE.yaml …`` is ``crossagent run RECIPE.yaml …``; the rest is lightning-sdk's.

The package lightning ships no such command. The one on PyPI belongs to lightning-sdk, the client of Lightning's cloud, and
takes no plug-ins; so this one stands in front of it, and finds it by what its distribution declares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import crossagent.cli

RECIPES = (".yaml", ".yml")
SCRIPTS = ("lightning", "lightning-sdk")
"""Console scripts of lightning-sdk that are its whole command line (2026.10.13 has both)."""
HELP = """usage: lightning run RECIPE.yaml [KEY=VALUE ...] [--print-config] [--dry-run]

`lightning run` with a recipe (a .yaml file) is `crossagent run`; every other command is lightning-sdk's,
which is not installed. To have both: pip install 'crossagent-lightning-cli[sdk]'
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code, for a recipe that of ``crossagent run``."""
    words = list(sys.argv[1:] if argv is None else argv)
    if names_recipe(words):
        return crossagent.cli.main(words)
    try:
        forward = sdk_command()
    except Exception as error:  # someone else's package may raise anything when it is imported
        print(f"lightning: lightning-sdk is installed but cannot be loaded: {error!r}", file=sys.stderr)
        return 1
    if forward is not None:
        sys.argv = ["lightning", *words]
        return int(forward() or 0)
    if words in (["-h"], ["--help"]):
        print(HELP, end="")
        return 0
    if words:
        print(f"lightning: {' '.join(words)!r} runs no recipe", file=sys.stderr)
    print(HELP, end="", file=sys.stderr)
    return 2


def names_recipe(words: Sequence[str]) -> bool:
    """Tell whether the command is ``run`` and its first argument that is no option is a YAML file.

    ``lightning run job …`` and ``lightning run mmt …`` are lightning-sdk's.
    """
    arguments = [word for word in words[1:] if not word.startswith("-")]
    return words[:1] == ["run"] and bool(arguments) and arguments[0].endswith(RECIPES)


def sdk_command() -> Callable[[], Any] | None:
    """Return lightning-sdk's command line; None where it is not installed."""
    try:
        declared = distribution("lightning-sdk").entry_points
    except PackageNotFoundError:
        return None
    scripts = {entry.name: entry for entry in declared if entry.group == "console_scripts"}
    entry = next((scripts[name] for name in SCRIPTS if name in scripts), None)
    if entry is None:
        return None
    command: Callable[[], Any] = entry.load()
    return command
