"""Where a run comes from: the state of the git work tree, and the plugins it uses with their versions."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def git_tags(directory: Path) -> dict[str, str]:
    """Return commit, branch and whether anything is changed, as MLflow's tags; nothing outside a work tree."""
    commit = _git(directory, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": _git(directory, "rev-parse", "--abbrev-ref", "HEAD"),
        "git.dirty": "true" if _git(directory, "status", "--porcelain", "--untracked-files=no") else "false",
    }


def plugin_versions(listing: Mapping[str, Sequence[Mapping[str, Any]]], used: Sequence[str]) -> dict[str, str]:
    """Return ``plugin/KIND/NAME`` → version and distribution, of those plugins of a listing that a run uses."""
    found = {}
    for kind in ("environments", "spaces"):
        for row in listing[kind]:
            if row["name"] in used:
                origin = f"{row['distribution']} {row['distribution_version']}".strip()
                found[f"plugin/{kind}/{row['name']}"] = f"{row['version']} ({origin})" if origin else row["version"]
    return found


def _git(directory: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(directory), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
