"""The reference pages are complete and current: every key, command, hook and public name."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import crossagent.demonstrations
import crossagent.plugin
import crossagent.testing
from crossagent.recipe.compose import plain
from crossagent.recipe.schema import load_recipe

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
NAMED = {
    page.name: set(re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)) for page in REFERENCE.glob("*.md")
}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_what_the_code_says() -> None:
    command = [sys.executable, ROOT / "docs" / "generate.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def keys(content: object, prefix: str = "") -> set[str]:
    """Return the dotted keys of a composed recipe; what a user names is NAME."""
    found = set()
    for key, value in content.items():  # type: ignore[attr-defined]
        free = prefix in ("spaces.", "evaluation.suites.")
        name = f"{prefix}{'NAME' if free else key}"
        ours = isinstance(value, dict) and not name.endswith(("options", "mixture"))
        found |= keys(value, f"{name}.") if ours and value else set()
        found |= set() if free else {name}
    return found


def test_every_key_of_a_recipe_is_on_the_page(generate: ModuleType) -> None:
    composed = keys(plain(load_recipe(ROOT / "recipes/quickstart.yaml", ["policy.lora={r: 4}"])))
    page = (REFERENCE / "recipe.md").read_text()
    documented = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    assert len(composed) > 120
    assert documented == composed


def test_every_key_has_a_meaning() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| .* \| (.*) \|$", (REFERENCE / "recipe.md").read_text(), re.MULTILINE)
    assert len(rows) > 120
    assert [key for key, meaning in rows if not meaning.strip()] == []


def test_every_option_of_our_plugins_has_a_meaning(generate: ModuleType) -> None:
    page = (REFERENCE / "plugins.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", page, re.MULTILINE)
    assert {"max_ticks", "camera_quantum", "observation"} <= {option for option, _ in rows}
    assert [option for option, meaning in rows if not meaning.strip()] == []


def test_the_parts_of_a_docstring_are_told_apart(generate: ModuleType) -> None:
    assert generate.docstring_parts(Space) == (
        "What it costs: `a`.",
        {"a": "The first, in two lines.", "b": "Another: this."},
    )


class Space:
    """A space.

    What it costs: ``a``.

    Args:
        a: The first,
            in two lines.
        b: Another: this.

    Raises:
        ValueError: Never.
    """


def test_a_docstring_belongs_to_the_field_above_it(generate: ModuleType) -> None:
    assert generate.attribute_docs(Base) == {"a": "The first.", "c": "Two lines of it."}
    assert generate.attribute_docs(Derived) == {"a": "Another first.", "c": "Two lines of it."}


@dataclasses.dataclass
class Base:
    """Of the test above."""

    a: int = 0
    """The first."""
    b: int = 0
    c: int = 0
    """Two lines
    of it."""


@dataclasses.dataclass
class Derived(Base):
    """A field again, with another default and meaning."""

    a: int = 1
    """Another first."""


def test_every_name_of_the_contract_is_in_the_reference() -> None:
    public = {f"crossagent.plugin.{name}" for name in crossagent.plugin.__all__}
    public -= {"crossagent.plugin.CONTRACT"}  # a value of crossagent.plugin_version, which says what changed
    public |= {f"crossagent.demonstrations.{name}" for name in crossagent.demonstrations.__all__}
    assert public | {"crossagent.plugin_version.CONTRACT"} == NAMED["plugin.md"]


def test_every_name_for_tests_is_in_the_reference() -> None:
    assert {f"crossagent.testing.{name}" for name in crossagent.testing.__all__} == NAMED["testing.md"]


def test_every_hook_says_what_it_is_for() -> None:
    hooks = [name for name in vars(crossagent.plugin.Hooks) if name.startswith("crossagent_")]
    assert len(hooks) >= 2
    for hook in hooks:
        assert getattr(crossagent.plugin.Hooks, hook).__doc__, hook


@pytest.mark.parametrize("page", sorted(NAMED))
def test_what_a_page_names_exists(page: str) -> None:
    for path in NAMED[page]:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path
