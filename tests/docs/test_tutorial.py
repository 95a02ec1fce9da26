"""A stranger follows docs/tutorial.md to the letter: an empty directory, a fresh environment, every block in order.

Slow and offline: the environment sees this one's packages through a ``.pth`` file, and pip is told that there is no index.
"""

from __future__ import annotations

import json
import sysconfig
import venv
from pathlib import Path

import pytest
from pages import ROOT, Workplace, blocks

TUTORIAL = ROOT / "docs" / "tutorial.md"


def test_the_space_has_at_most_60_lines() -> None:
    (space,) = [block for block in blocks(TUTORIAL) if block.title.endswith("__init__.py")]
    assert 20 < len([line for line in space.body.splitlines() if line.strip()]) <= 60


def test_every_block_is_run() -> None:
    found = blocks(TUTORIAL)
    assert len(found) >= 7
    assert [str(block) for block in found if block.mark] == []


@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "env/lib").glob("python*/site-packages")
    # addsitedir, unlike a bare path, also reads the .pth files of editable installs over there
    (site / "parent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    (tmp_path / "work").mkdir()
    workplace = Workplace(tmp_path / "work", tmp_path / "env/bin/python")
    for block in blocks(TUTORIAL):
        workplace.run(block)
    assert (site / "crossagent_plan/__init__.py").is_file(), "installed from the wheel, not found by its path"
    stages = json.loads((tmp_path / "work/runs/tutorial/summary.json").read_text())["stages"]
    success = {stage["stage"]: stage["eval"]["id"]["plan"]["success"] for stage in stages}
    assert success["untrained"] == 0
    assert success["sft"] > 0.4, "the tutorial says that SFT comes near the expert's ceiling"
