"""Where a game's interpreter is, what is missing before it can start, and how it is installed.

A game of the MineRL family pins old packages and patches Java: it lives in a virtual environment of its own, under
``CROSSAGENT_MINERL_HOME`` (or the user's data folder), and is spoken to through a pipe.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossagent.plugin import Unavailable

JAVA = 8
_INSTALL_SECONDS = 3600


@dataclass(frozen=True)
class Home:
    """One game's folder."""

    game: str
    """``minerl``: the command is ``crossagent minerl install``, the variable ``CROSSAGENT_MINERL_HOME``."""

    @property
    def folder(self) -> Path:
        """The folder that holds what is installed."""
        chosen = os.environ.get(f"CROSSAGENT_{self.game.upper()}_HOME")
        if chosen:
            return Path(chosen)
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return Path(data) / "crossagent" / self.game

    @property
    def python(self) -> Path:
        """The game's interpreter."""
        return self.folder / "venv" / "bin" / "python"

    def site(self, package: str) -> Path | None:
        """Return the folder of a package in the game's environment; None when it is not there."""
        return next(iter(sorted(self.folder.glob(f"venv/lib/python3*/site-packages/{package}"))), None)

    def missing(self, package: str) -> str:
        """Return in one line why the packages cannot be used; empty when they can."""
        if not self.python.exists() or self.site(package) is None:
            return f"{package} is not installed in {self.folder}; run: crossagent {self.game} install"
        return ""

    def install(self, steps: Sequence[Sequence[str]], environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Make the virtual environment: each step is the words after ``pip install``. Whole, or not at all.

        Raises:
            Unavailable: A step failed; the message has pip's last line.
        """
        if self.python.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / "venv"
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="install-") as scratch:
            made = Path(scratch) / "venv"
            say(f"making {target}")
            run([sys.executable, "-m", "venv", str(made)], environ)
            for words in steps:
                say(f"pip install {' '.join(words)}")
                pip = [str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
                run([*pip, *words], environ)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(made, target)


def install_or_tell(home: Home, install: Callable[[], None] | None, missing: Callable[[], str]) -> int:
    """Install a game if that is asked for, then print its folder, or what is missing.

    Args:
        home: The game's.
        install: Installs it; None where only the folder is asked for.
        missing: Says what is missing; empty when nothing is.

    Returns:
        The exit code of the command.
    """
    try:
        if install is not None:
            install()
        problem = missing()
    except Unavailable as error:
        problem = str(error)
    print(problem or home.folder, file=sys.stderr if problem else sys.stdout)
    return 2 if problem else 0


def run(words: Sequence[str], environ: Mapping[str, str], folder: Path | None = None) -> None:
    """Run a step of an installation; raises :class:`Unavailable` with its last error."""
    done = subprocess.run(
        list(words),
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=_INSTALL_SECONDS,
    )
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if "rror" in line]
        raise Unavailable(f"{' '.join(words[1:4])} … failed: {(errors or lines or ['no output'])[-1].strip()}")


def java() -> str:
    """Return in one line why there is no Java 8 for the game; empty when there is."""
    root = os.environ.get("JAVA_HOME")
    program = str(Path(root) / "bin" / "java") if root else shutil.which("java")
    hint = "install OpenJDK 8 and set JAVA_HOME"
    if not program or not Path(program).exists():
        return f"the game needs Java {JAVA}, and there is no `java` {'in JAVA_HOME' if root else 'on the PATH'}; {hint}"
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    if version is None or int(version[1]) != JAVA:
        return f"the game needs Java {JAVA}; {program} is {version[1] if version else 'of no known version'}; {hint}"
    return ""
