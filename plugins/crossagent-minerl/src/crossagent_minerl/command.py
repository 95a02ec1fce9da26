"""``crossagent minerl``: installs MineRL in an environment of its own, and says what is missing."""

from __future__ import annotations

import argparse
import sys

from crossagent.plugin import Unavailable
from crossagent_minerl.env import ENGINE, HOME, missing
from crossagent_minerl.home import java, run

VERSION = "0.4.4"
# gym 0.19's metadata is refused by newer setuptools and wheel; both are built with the environment's own.
STEPS = (
    ("setuptools==65.5.0", "wheel==0.38.4"),
    ("--no-build-isolation", "gym==0.19.0"),
    ("--no-build-isolation", f"minerl=={VERSION}"),
)


def command(words: list[str]) -> int:
    """Run ``crossagent minerl …``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="crossagent minerl", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser(
        "install", help=f"make a virtual environment with MineRL {VERSION}; with Java 8, its engine too"
    )
    commands.add_parser("where", help="print the folder it is in, or what is missing")
    chosen = parser.parse_args(words)
    try:
        if chosen.what == "install":
            install()
        problem = missing()
    except Unavailable as error:
        problem = str(error)
    print(problem or HOME.folder, file=sys.stderr if problem else sys.stdout)
    return 2 if problem else 0


def install() -> None:
    """Install the packages; build the engine where there is Java 8.

    Raises:
        Unavailable: pip failed, or the engine could not be built.
    """
    # MineRL's setup builds the engine (Gradle, Java 8, a network) unless it believes to be on Read the Docs.
    without_engine = {"READTHEDOCS": "1"}
    HOME.install(STEPS, without_engine, print)
    root = HOME.site("minerl")
    assert root is not None
    if (root / ENGINE).is_dir():
        return
    if problem := java():
        raise Unavailable(
            f"MineRL {VERSION} is installed in {HOME.folder}; its engine is not: {problem}; then run this again"
        )
    print("building the engine: this takes minutes")
    run(["bash", "gradlew", "-g", "run/gradle", "shadowJar"], {}, root / ENGINE.parent)
