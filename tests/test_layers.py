"""The layers of DESIGN.md, kept by import-linter; its configuration is in pyproject.toml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]
CLI = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]


def lint(cwd: Path, sources: list[Path]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))}
    return subprocess.run(CLI, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_every_contract_is_kept() -> None:
    result = lint(ROOT, SOURCES)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_a_planted_violation_is_found(tmp_path: Path) -> None:
    """A contract that checks nothing would pass too: plugins must be named as root packages for theirs to bite."""
    import shutil

    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = []
    for source in SOURCES:
        target = tmp_path / source.relative_to(ROOT)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        planted.append(target)
    with open(tmp_path / "src/crossagent/types.py", "a") as file:
        file.write("\nfrom crossagent import registry\n")
    with open(tmp_path / "plugins/crossagent-api/src/crossagent_api/__init__.py", "a") as file:
        file.write("\nfrom crossagent.types import Task\n")
    result = lint(tmp_path, planted)
    assert result.returncode != 0
    assert "crossagent.types -> crossagent.registry" in result.stdout
    assert "crossagent_api -> crossagent.types" in result.stdout
