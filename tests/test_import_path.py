"""Paths such as ``module:name``: the one place that resolves them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossagent.import_path import NameNotFound, resolve


def test_a_path_is_the_object_and_an_object_is_itself() -> None:
    assert resolve("json:loads") is json.loads
    assert resolve(json.loads) is json.loads


@pytest.mark.parametrize("path", ["", "json", "json:", ":loads"])
def test_what_is_no_path_is_refused_with_the_form(path: str) -> None:
    with pytest.raises(ValueError, match="expected module:name"):
        resolve(path)


def test_a_missing_name_is_told_from_a_module_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NameNotFound, match="module 'json' has no attribute 'lods'"):
        resolve("json:lods")
    with pytest.raises(ModuleNotFoundError):
        resolve("no_such_module_here:x")
    (tmp_path / "failing_module.py").write_text("raise AttributeError('of its own')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(AttributeError, match="of its own") as caught:
        resolve("failing_module:x")
    assert not isinstance(caught.value, NameNotFound)


def test_every_path_of_the_core_is_resolved_here() -> None:
    home = Path(__file__).parents[1] / "src" / "crossagent"
    by_hand = [p.name for p in home.rglob("*.py") if "getattr(importlib.import_module(" in p.read_text()]
    assert by_hand == []
