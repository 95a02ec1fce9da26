"""``crossagent minecraft install``: the bridge's Node packages from the committed lock file, pruned to what 1.16.5 needs."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from crossagent.plugin import Unavailable
from crossagent_minecraft.node import missing, node, packages, sources

MOST_MB = 150
_VERSION = "1.16.5"
_NOT_NEEDED = ("*.d.ts", "*.map", "*.md")


def command(words: list[str]) -> int:
    """Run ``crossagent minecraft …``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="crossagent minecraft", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("install", help="fetch the Node packages of the bridge (npm ci) and prune them")
    commands.add_parser("where", help="print the folder they are in, or what is missing")
    chosen = parser.parse_args(words)
    if chosen.what == "where":
        problem = missing()
        print(problem or packages())
        return 2 if problem else 0
    try:
        size = install()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 2
    print(f"the Minecraft bridge is installed in {packages().parent} ({size} MB)")
    return 0


def install() -> int:
    """Install the packages; return their size in MB. Nothing half-installed is ever in place.

    Raises:
        Unavailable: Node or npm is missing or too old, or npm failed.
    """
    node()
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("there is no `npm` on the PATH; it comes with Node")
    target = packages()
    if target.is_dir():
        return _megabytes(target)
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix="install-") as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(sources() / name, folder)
        # --ignore-scripts: nothing that is fetched runs while it is installed
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise Unavailable(f"npm ci failed: {last}")
        modules = Path(folder) / "node_modules"
        prune(modules)
        size = _megabytes(modules)
        if size > MOST_MB:
            raise Unavailable(f"the packages take {size} MB after pruning; expected at most {MOST_MB}")
        target.parent.mkdir(exist_ok=True)
        os.replace(modules, target)
    return size


def prune(modules: Path) -> None:
    """Remove the data of other versions, type declarations and source maps."""
    data = modules / "minecraft-data" / "minecraft-data" / "data"
    wanted = {*_folders(modules), "pc/common", "bedrock/common"}
    for edition in ("pc", "bedrock"):
        for folder in (data / edition).iterdir():
            if f"{edition}/{folder.name}" not in wanted:
                shutil.rmtree(folder)
    for pattern in _NOT_NEEDED:
        for found in sorted(modules.rglob(pattern)):
            found.unlink()


def _folders(modules: Path) -> set[str]:
    """Return the data folders that the index of minecraft-data reads for our version; some are those of other versions."""
    text = (modules / "minecraft-data" / "data.js").read_text()
    start = text.index(f"'{_VERSION}': {{")
    block = text[start : text.index("\n    },", start)]
    return set(re.findall(r"minecraft-data/data/((?:pc|bedrock)/[^/]+)/", block))


def _megabytes(folder: Path) -> int:
    return round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6)
