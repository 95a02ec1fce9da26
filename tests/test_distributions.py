"""What every distribution of this repository says of itself: a page for its readers, the licence, what it needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECTS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
assert len(PROJECTS) > 5


def project(directory: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
    return table


@pytest.mark.parametrize("directory", PROJECTS, ids=lambda path: path.name)
def test_a_distribution_has_a_page_a_licence_authors_and_classifiers(directory: Path) -> None:
    table = project(directory)
    page = (directory / table["readme"]).read_text()
    assert page.startswith(f"# {table['name']}\n")
    assert len(page) > 300
    assert table["license"] == "MIT"
    assert [(directory / name).read_text() for name in table["license-files"]] == [(ROOT / "LICENSE").read_text()]
    assert table["authors"]
    assert "Typing :: Typed" in table["classifiers"]


@pytest.mark.parametrize("directory", PROJECTS[1:], ids=lambda path: path.name)
def test_a_plugin_bounds_what_it_needs_of_ours_from_below(directory: Path) -> None:
    """The distributions are released together: a plugin needs a core that has the contract it is written for."""
    minor = ".".join(project(ROOT)["version"].split(".")[:2])
    ours = [need for need in project(directory)["dependencies"] if re.match(r"crossagent\b", need)]
    assert ours
    assert [need.partition(">=")[2] for need in ours] == [minor] * len(ours)
    assert project(directory)["version"] == project(ROOT)["version"]
