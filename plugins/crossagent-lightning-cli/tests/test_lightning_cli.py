"""``lightning``: recipes are ours, everything else is lightning-sdk's, there or not."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = Path(__file__).parents[1]
SOURCES = [ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]
RECIPE = str(ROOT / "recipes/quickstart.yaml")
SDK = """
import sys
import click

@click.group()
def main_cli():
    print("sdk:", sys.argv)

@main_cli.command()
def login():
    print("logged in")

@main_cli.group()
def run():
    pass

@run.command()
@click.argument("words", nargs=-1)
def job(words):
    raise SystemExit(7)
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    """A directory for PYTHONPATH in which something like lightning-sdk 2026.10.13 is installed."""
    site = tmp_path / "site"
    (site / "lightning_sdk/cli").mkdir(parents=True)
    (site / "lightning_sdk/__init__.py").touch()
    (site / "lightning_sdk/cli/__init__.py").touch()
    (site / "lightning_sdk/cli/entrypoint.py").write_text(SDK)
    info = site / "lightning_sdk-2026.10.13.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lightning_sdk\nVersion: 2026.10.13\n")
    script = "lightning_sdk.cli.entrypoint:main_cli"
    (info / "entry_points.txt").write_text(
        f"[console_scripts]\nlightning = {script}\nlightning-sdk = {script}\nsandbox = nothing:here\n"
    )
    return site


@pytest.fixture
def lightning(tmp_path: Path) -> Run:
    def run(
        *words: str, module: str = "crossagent_lightning_cli", site: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = [*([site] if site else []), *SOURCES]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        command = [sys.executable, "-m", module, *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize(
    ("words", "with_sdk"),
    [(("--print-config",), False), (("--dry-run", "seed=3"), True), (("sead=3",), True), (("sead=3",), False)],
)
def test_a_recipe_is_run_as_by_crossagent(lightning: Run, sdk: Path, words: tuple[str, ...], with_sdk: bool) -> None:
    site = sdk if with_sdk else None
    ours = lightning("run", RECIPE, *words, site=site)
    theirs = lightning("run", RECIPE, *words, module="crossagent", site=site)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.returncode == (2 if words == ("sead=3",) else 0)


def test_options_may_stand_before_the_recipe(lightning: Run, sdk: Path) -> None:
    result = lightning("run", "--print-config", RECIPE, site=sdk)
    assert result.returncode == 0
    assert result.stdout.startswith("environment:")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("login",), 0, "logged in"),
        (("run", "job", "train.yaml"), 7, "sdk: ['lightning', 'run', 'job', 'train.yaml']"),
        (("--help",), 0, "Commands:"),
        (("run",), 2, ""),
        (("nonsense",), 2, ""),
    ],
)
def test_everything_else_is_handed_to_the_sdk(
    lightning: Run, sdk: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    result = lightning(*words, site=sdk)
    assert result.returncode == code
    assert said in result.stdout
    assert "runs no recipe" not in result.stderr


@pytest.mark.parametrize("words", [("login",), ("run", "job", "train.yaml"), ("run", "quickstart"), ("run",), ()])
def test_without_the_sdk_it_says_what_is_missing(lightning: Run, words: tuple[str, ...]) -> None:
    result = lightning(*words)
    assert result.returncode == 2
    assert "lightning-sdk's,\nwhich is not installed" in result.stderr
    assert result.stdout == ""
    assert (f"{' '.join(words)!r} runs no recipe" in result.stderr) is bool(words)


def test_without_the_sdk_help_is_no_error(lightning: Run) -> None:
    result = lightning("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "pip install 'crossagent-lightning-cli[sdk]'" in result.stdout


def test_a_broken_sdk_is_named(lightning: Run, sdk: Path) -> None:
    (sdk / "lightning_sdk/cli/entrypoint.py").write_text("import a_module_that_is_missing")
    result = lightning("login", site=sdk)
    assert result.returncode == 1
    assert "lightning-sdk is installed but cannot be loaded" in result.stderr
    assert "a_module_that_is_missing" in result.stderr
    assert lightning("run", RECIPE, "--dry-run", site=sdk).returncode == 0


@pytest.mark.slow
def test_what_pip_does_when_two_packages_bring_the_script(tmp_path: Path, sdk: Path) -> None:
    """Wheels of ours and of something like lightning-sdk, installed one over the other, as the README says."""
    theirs = tmp_path / "theirs"
    (theirs / "lightning_sdk").parent.mkdir()
    (sdk / "lightning_sdk").rename(theirs / "lightning_sdk")
    (theirs / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "lightning-sdk"\nversion = "2026.10.13"\n'
        '[project.scripts]\nlightning = "lightning_sdk.cli.entrypoint:main_cli"\n'
        'lightning-sdk = "lightning_sdk.cli.entrypoint:main_cli"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["lightning_sdk"]\n'
    )
    run = {"check": True, "capture_output": True, "timeout": 120}
    for place in (PACKAGE, theirs):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
        subprocess.run(build, cwd=place, **run)  # type: ignore[call-overload]
    ours_wheel, theirs_wheel = sorted((tmp_path / "dist").glob("*.whl"))
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "parent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python, script = tmp_path / "venv/bin/python", tmp_path / "venv/bin/lightning"

    def pip(*words: object) -> None:
        subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *map(str, words)], **run)  # type: ignore[call-overload]

    def install(*words: object) -> None:
        pip("install", "--no-deps", "--no-index", *words)

    def owner() -> str:
        return script.read_text().split("from ")[1].split(".")[0].split(" ")[0] if script.exists() else ""

    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCES[:1]))}
    env["PATH"] = f"{script.parent}{os.pathsep}{env['PATH']}"

    install(ours_wheel)
    assert owner() == "crossagent_lightning_cli"
    done = subprocess.run(["lightning", "run", RECIPE, "--print-config"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    install(theirs_wheel)
    assert owner() == "lightning_sdk", "the later installation wins, silently"
    done = subprocess.run(
        [str(python), "-m", "crossagent_lightning_cli", "run", RECIPE, "--print-config"], env=env, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    install("--force-reinstall", ours_wheel)
    assert owner() == "crossagent_lightning_cli"
    pip("uninstall", "-y", "lightning-sdk")
    assert owner() == "", "uninstalling either removes the script"
