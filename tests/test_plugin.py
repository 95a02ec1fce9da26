"""The public contract: what it exports, and that it stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import crossagent.plugin
import crossagent.testing


@pytest.mark.parametrize("module", [crossagent.plugin, crossagent.testing])
def test_all_names_exist_once(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert len(names) == len(set(names)) > 5
    assert all(hasattr(module, name) for name in names)


@pytest.mark.parametrize(
    "module", ["crossagent.plugin", "crossagent.testing", "crossagent.registry", "crossagent_gui.space"]
)
def test_the_contract_loads_no_heavy_package(module: str) -> None:
    code = (
        f"import sys, {module}; heavy = {{'torch', 'lightning', 'transformers', 'mlflow', 'pyarrow', 'hypothesis', 'lark'}};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["ActionTokenizer", "Executor", "ActionSpace", "Environment"])
def test_the_docstring_names_every_method_that_an_author_implements(name: str) -> None:
    said = crossagent.plugin.__doc__ or ""
    methods = getattr(crossagent.plugin, name).__abstractmethods__
    assert methods
    assert [method for method in methods if f"``{method}``" not in said] == []
