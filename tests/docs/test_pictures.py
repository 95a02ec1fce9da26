"""The pictures of docs/craftworld.md: their scenes can be made, and the page shows them all."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from crossagent_craftworld.render.renderer import Renderer

ROOT = Path(__file__).parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("craftworld_pictures", ROOT / "docs/images/craftworld.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = script().PICTURES


def test_the_page_shows_every_picture() -> None:
    shown = re.findall(r"images/craftworld/([\w-]+)\.png", (ROOT / "docs/craftworld.md").read_text())
    assert sorted(shown) == sorted(PICTURES)
    assert {path.stem for path in (ROOT / "docs/images/craftworld").glob("*.png")} == set(PICTURES)
    assert len([name for name in PICTURES if not name.startswith("screen-")]) >= 10


@pytest.mark.parametrize("name", PICTURES)
def test_every_scene_can_be_made(name: str) -> None:
    picture = Renderer((96, 64)).render(PICTURES[name]())
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 150
