"""``crossagent minerl``: installs MineRL in an environment of its own; imports recordings of people playing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from crossagent.demonstrations import DataError, Demonstration, save_demonstrations
from crossagent.plugin import Unavailable
from crossagent_minerl.env import ENGINE, HOME, missing
from crossagent_minerl.home import install_or_tell, java, run
from crossagent_minerl.imports import Wanted, demonstrations, recordings

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
    _import_words(commands)
    chosen = parser.parse_args(words)
    if chosen.what == "import":
        return _import(chosen)
    return install_or_tell(HOME, install if chosen.what == "install" else None, missing)


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


def _import_words(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("import", help="VPT and BASALT recordings (jsonl + mp4) as demonstrations")
    parser.add_argument("source", type=Path, help="a recording, NAME.jsonl beside NAME.mp4, or a folder of them")
    parser.add_argument("target", type=Path, help="the file to write; a recipe's demonstrations.file")
    parser.add_argument("--instruction", required=True, help="what the player was told to do")
    parser.add_argument("--task", default="recorded", help="name of the task; %(default)s unless given")
    parser.add_argument(
        "--ticks", type=_positive, default=4, help="ticks of an action; %(default)s, as of the space control"
    )
    parser.add_argument("--turns", type=_positive, default=64, help="longest demonstration; %(default)s")
    parser.add_argument(
        "--camera-quantum", type=_positive, default=2, help="of the environment; %(default)s mouse pixels"
    )
    parser.add_argument(
        "--camera-limit", type=_positive, default=300, help="of the environment; %(default)s mouse pixels"
    )
    parser.add_argument(
        "--image-size", type=_positive, nargs=2, default=(224, 224), metavar=("W", "H"), help="of pictures"
    )
    parser.add_argument("--no-pictures", action="store_true", help="text alone; opens no video")
    parser.add_argument("--idle", action="store_true", help="keep actions that hold nothing; VPT leaves them out")


def _positive(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {value}; expected at least 1")
    return value


def _import(chosen: argparse.Namespace) -> int:
    wanted = Wanted(
        task=chosen.task,
        instruction=chosen.instruction,
        ticks=chosen.ticks,
        turns=chosen.turns,
        quantum=chosen.camera_quantum,
        limit=chosen.camera_limit,
        image_size=None if chosen.no_pictures else tuple(chosen.image_size),
        idle=chosen.idle,
    )
    counts = [0, 0]

    def every(files: Sequence[Path]) -> Iterator[Demonstration]:
        console = Console(stderr=True)
        for number, file in enumerate(track(files, "recordings", console=console, disable=not console.is_terminal)):
            for demonstration in demonstrations(file, number, wanted):
                counts[0] += 1
                counts[1] += len(demonstration.turns)
                yield demonstration

    try:
        files = recordings(chosen.source)
        save_demonstrations(chosen.target, every(files), {"source": "recordings", "files": [f.name for f in files]})
    except (DataError, Unavailable) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{chosen.target}: {counts[0]} demonstrations, {counts[1]} turns, of {len(files)} recordings")
    return 0
