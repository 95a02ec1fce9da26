"""The packages are typed for those who install them: mypy reads the wheels, outside this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

from crossagent.registry.plugin_set import PluginSet
from crossagent.scaffold import new_package

ROOT = Path(__file__).parents[1]
PACKAGES = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
STRANGER = ROOT / "tests" / "stranger" / "crossagent-stranger"


def wheel_of(package: Path, target: Path) -> Path:
    """Build the wheel of a package."""
    target.mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=package, check=True, capture_output=True, timeout=300)
    (wheel,) = target.glob("*.whl")
    return wheel


def installed(directory: Path, wheels: list[Path]) -> Path:
    """Return the interpreter of an environment that holds these wheels and pluggy, and sees nothing else."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(directory)], check=True, timeout=120
    )
    (site,) = (directory / "lib").glob("python*/site-packages")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    # What the contract's own annotations name.
    (site / "pluggy").symlink_to(Path(sysconfig.get_path("purelib")) / "pluggy")
    return directory / "bin" / "python"


class Check:
    """Runs ``mypy --strict`` as a plugin author does: in a directory of his own, with the installed crossagent."""

    def __init__(self, python: Path, home: Path) -> None:
        self.python, self.home = python, home

    def __call__(self, source: Path) -> tuple[int, str]:
        """Return the exit code and what mypy says of a source tree."""
        command = [
            "--strict",
            "--python-executable",
            str(self.python),
            "--cache-dir",
            str(self.home / "cache"),
            str(source),
        ]
        env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *command],
            cwd=self.home,
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    home = tmp_path_factory.mktemp("typed")
    return Check(installed(home / "env", [wheel_of(ROOT, home / "dist")]), home)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name if path != ROOT else "crossagent")
def test_the_wheel_says_that_it_is_typed(package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel_of(package, tmp_path / "dist")) as wheel:
        names = wheel.namelist()
    (module,) = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert f"{module}/py.typed" in names


@pytest.mark.slow
def test_the_strangers_package_is_checked(check: Check, tmp_path: Path) -> None:
    shutil.copytree(STRANGER / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    assert check(tmp_path / "src") == (0, "Success: no issues found in 1 source file\n")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["space", "environment"])
def test_a_new_package_is_checked(kind: Any, check: Check, tmp_path: Path) -> None:
    written = new_package(kind, "stride", tmp_path / "package", PluginSet())
    assert check(written / "src") == (0, "Success: no issues found in 1 source file\n")
    with zipfile.ZipFile(wheel_of(written, tmp_path / "dist")) as wheel:
        assert "crossagent_stride/py.typed" in wheel.namelist()


@pytest.mark.slow
def test_a_wrong_signature_is_found(check: Check, tmp_path: Path) -> None:
    shutil.copytree(STRANGER / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "src" / "crossagent_stranger" / "__init__.py"
    right = "def encode(self, action: Action) -> str:\n        return"
    assert right in module.read_text()
    wrong = "def encode(self, action: int) -> bytes:\n        return b"
    module.write_text(
        module.read_text().replace(right, wrong).replace('b "Talk: " + "".join(action.payload)', 'b"Talk"')
    )
    code, said = check(tmp_path / "src")
    assert code == 1
    assert 'Argument 1 of "encode" is incompatible with supertype' in said
    assert 'Return type "bytes" of "encode" incompatible with return type "str" in supertype' in said


@pytest.mark.slow
def test_without_the_marker_the_signature_would_be_anything(check: Check, tmp_path: Path) -> None:
    """The tests above read the wheel: they would say so if it were not typed."""
    shutil.copytree(STRANGER / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (site,) = (check.python.parents[1] / "lib").glob("python*/site-packages")
    (marker,) = site.glob("crossagent/py.typed")
    marker.unlink()
    try:
        code, said = check(tmp_path / "src")
    finally:
        marker.touch()
    assert code == 1
    assert "module is installed, but missing library stubs or py.typed marker" in said
