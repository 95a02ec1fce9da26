"""docs/design/correctness.md names tests; each of them exists, and each property has one."""

import ast
import re
import sys
import types
from pathlib import Path

import pytest
import torch

from crossagent.import_path import ESTIMATOR, find_function

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs/design/correctness.md"
ROWS = [line.split("|") for line in DOC.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ \|", line)]


def named(cell: str) -> list[tuple[str, str]]:
    """(file, test) of each node id; ``::test`` alone is of the file named before it."""
    nodes, file = [], ""
    for name in re.findall(r"`([^`]*::[^`]*)`", cell):
        path, _, test = name.partition("::")
        file = path or file
        nodes.append((file, test))
    return nodes


def functions_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_property_has_a_test_and_every_test_exists() -> None:
    assert len(ROWS) >= 26
    assert [int(row[1]) for row in ROWS] == list(range(1, len(ROWS) + 1))
    missing = []
    for row in ROWS:
        nodes = named(row[3])
        assert nodes, f"property {row[1].strip()} names no test"
        missing += [f"{f}::{t}" for f, t in nodes if not (ROOT / f).is_file() or t not in functions_in(f)]
    assert not missing


def test_every_logged_number_is_documented() -> None:
    documented = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    for row in ROWS:
        _, _, logged = row[3].partition("logged:")
        for name in re.findall(r"`([^`]+)`", logged):
            assert name.removesuffix("*") in documented, name


def test_the_estimator_of_the_example_can_be_named_in_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    module = types.ModuleType("example_credit")
    module.torch = torch
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, "example_credit", module)
    estimator = find_function("example_credit:best_of_group", {}, ESTIMATOR)
    nan = float("nan")
    returns, group = torch.tensor([0.2, 0.9, nan, 0.1, 0.1]), torch.tensor([0, 0, 0, 1, 1])
    owner = torch.tensor([0, 0, 1, 2, 3, 4])
    got = estimator(
        returns, group, torch.zeros(6), owner, owner, baseline="mean", scale="none", gamma=1.0, step_weight=1.0
    )
    torch.testing.assert_close(got, torch.tensor([0.0, 0.0, 1.0, nan, 1.0, 1.0]), equal_nan=True)
