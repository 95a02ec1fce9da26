"""``mkdocs build --strict``: no broken link or anchor, no page outside the menu, no undocumented hook."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

import crossagent.plugin
import crossagent.testing

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is missing: make docs installs it"),
]


def build(directory: Path, *more: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory), *more]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    result = build(directory)
    assert result.returncode == 0, result.stderr
    return directory


def test_every_hook_and_public_name_is_in_the_index(site: Path) -> None:
    index = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    documented = {line.split(" ")[0] for line in index.splitlines()}
    hooks = [name for name in vars(crossagent.plugin.Hooks) if name.startswith("crossagent_")]
    wanted = {f"crossagent.plugin.Hooks.{name}" for name in hooks}
    wanted |= {f"crossagent.plugin.{name}" for name in crossagent.plugin.__all__}
    wanted |= {f"crossagent.testing.{name}" for name in crossagent.testing.__all__}
    assert wanted - documented == set()


def test_roles_are_shown_as_names(site: Path) -> None:
    pages = list((site / "reference").glob("*.html"))
    assert len(pages) >= 4
    for page in pages:
        assert ":class:" not in page.read_text(encoding="utf-8"), page.name
        assert ":func:" not in page.read_text(encoding="utf-8"), page.name


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    """A check that lets everything pass would pass too."""
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text("[gone](gone.md)\n")
    config = (ROOT / "mkdocs.yml").read_text().split("\nplugins:")[0] + "\nplugins: []\n"
    (tmp_path / "mkdocs.yml").write_text(config)
    result = build(tmp_path / "site", root=tmp_path)
    assert result.returncode != 0
    assert "gone.md" in result.stderr
