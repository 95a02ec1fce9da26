"""A package that nobody here has seen: built, installed beside crossagent in an environment of its own, and used.

Slow and offline: the fresh environment sees this one's packages through a ``.pth`` file, so nothing is downloaded.
Each test is one thing a stranger does with the command line; they share the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from crossagent.testing import ToySuite, ToyWorld, check_action_space

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = HERE / "crossagent-stranger"
OURS = [ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment in which the stranger's wheel is installed."""
    tmp = tmp_path_factory.mktemp("stranger")
    shutil.copytree(PACKAGE, tmp / "package", ignore=shutil.ignore_patterns("__pycache__", "dist"))
    run = {"check": True, "timeout": 300, "capture_output": True, "text": True}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp / "dist")],
        cwd=tmp / "package",
        **run,  # type: ignore[call-overload]
    )
    (wheel,) = (tmp / "dist").glob("*.whl")
    venv.create(tmp / "venv", with_pip=False, symlinks=True)
    interpreter = tmp / "venv" / "bin" / "python"
    (site,) = (tmp / "venv" / "lib").glob("python*/site-packages")
    # addsitedir, unlike a bare path, also reads the .pth files of editable installs over there
    parent = sysconfig.get_path("purelib")
    (site / "parent.pth").write_text(f"import site; site.addsitedir({parent!r})\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--no-deps", "--no-index", str(wheel)],
        **run,  # type: ignore[call-overload]
    )
    return interpreter


def crossagent(python: Path, *args: str) -> str:
    """Run the command line in the stranger's environment; the code under test comes from this checkout."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, OURS))}
    done = subprocess.run(
        [str(python), "-m", "crossagent", *args],
        env=env,
        cwd=python.parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_space_is_listed_with_its_package(python: Path) -> None:
    listing = json.loads(crossagent(python, "plugins", "--json"))
    (talk,) = [row for row in listing["spaces"] if row["name"] == "talk"]
    assert (talk["distribution"], talk["distribution_version"]) == ("crossagent-stranger", "0.3.0")
    assert talk["requires"] == ["control"]
    assert "crossagent-stranger" not in {row["distribution"] for row in listing["failures"]}


@pytest.mark.slow
def test_crossagent_loads_without_the_stranger_too() -> None:
    from crossagent.registry import load_plugins

    assert "talk" not in load_plugins().spaces


def test_the_space_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    import crossagent_stranger

    tasks = [task for task in ToySuite().tasks() if task.solvable]
    assert check_action_space(crossagent_stranger.TalkSpace(), ToyWorld(), tasks) == []
