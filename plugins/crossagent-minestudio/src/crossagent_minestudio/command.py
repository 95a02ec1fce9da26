"""``crossagent minestudio``: installs MineStudio's simulator in an environment of its own, and says what is missing."""

from __future__ import annotations

import argparse

from crossagent.plugin import Unavailable
from crossagent_minerl.home import install_or_tell, java, run
from crossagent_minestudio.env import ENGINE, HOME, engine, missing

VERSION = "1.1.6"
# MineStudio pins versions for its own training; the simulator alone needs these, and none of the pins that clash.
STEPS = (
    ("torch==2.13.0",),
    ("--no-deps", f"minestudio=={VERSION}"),
    (
        "numpy<2", "gym==0.26.2", "gym3", "gymnasium", "opencv-python-headless<4.12", "av", "lxml", "jinja2", "rich", "coloredlogs",
        "psutil", "Pyro4", "xmltodict", "daemoniker", "minecraft_data==3.20.0", "pyyaml", "huggingface_hub", "omegaconf",
        "requests", "tqdm", "absl-py", "attrs", "einops", "setuptools<81",
    ),
)  # fmt: skip
_FETCH = "from minestudio.simulator.entry import check_engine; check_engine(skip_confirmation=True)"


def command(words: list[str]) -> int:
    """Run ``crossagent minestudio …``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="crossagent minestudio", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("install", help=f"make a virtual environment with MineStudio {VERSION}, and fetch its engine")
    commands.add_parser("where", help="print the folder it is in, or what is missing")
    chosen = parser.parse_args(words)
    return install_or_tell(HOME, install if chosen.what == "install" else None, missing)


def install() -> None:
    """Install the simulator's packages; fetch the engine (Hugging Face hub).

    Raises:
        Unavailable: pip failed, or the engine could not be fetched; or what else is missing.
    """
    HOME.install(STEPS, {}, print)
    if not (engine() / ENGINE).is_file():
        print(f"fetching the engine into {engine()}")
        engine().mkdir(parents=True, exist_ok=True)
        try:
            run([str(HOME.python), "-c", _FETCH], {"MINESTUDIO_DIR": str(engine())})
        except Unavailable as error:
            raise Unavailable(
                f"MineStudio {VERSION} is installed in {HOME.folder}; its engine is not: CraftJarvis/SimulatorEngine could "
                f"not be fetched from the Hugging Face hub ({str(error).rsplit('failed: ', 1)[-1]}); "
                f"put engine.zip's content into {engine()} or run this again with a network{_and(java())}"
            ) from error


def _and(problem: str) -> str:
    return f". Also: {problem}" if problem else ""
