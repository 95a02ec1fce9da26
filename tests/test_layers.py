"""The layers of DESIGN.md, kept by import-linter; its configuration is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]
PACKAGES = sorted(path.parent.name for source in SOURCES for path in source.glob("*/__init__.py"))
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CLI = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]


def lint(cwd: Path, sources: list[Path]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))}
    return subprocess.run(CLI, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_every_contract_is_kept() -> None:
    result = lint(ROOT, SOURCES)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_every_package_of_the_checkout_is_under_the_contracts() -> None:
    """A package that is not named as a root package could import anything."""
    assert sorted(CONFIGURATION["root_packages"]) == PACKAGES


def test_every_plugin_with_an_environment_is_among_the_worlds_that_are_strangers() -> None:
    (worlds,) = (contract["modules"] for contract in CONFIGURATION["contracts"] if contract["type"] == "independence")
    homes = [path.parent for source in SOURCES for path in source.glob("crossagent_*/__init__.py")]
    assert sorted(worlds) == sorted(home.name for home in homes if "def crossagent_environments" in read(home))


def read(package: Path) -> str:
    return (package / "__init__.py").read_text()


def test_algorithms_import_torch_and_nothing_else() -> None:
    graph = grimp.build_graph("crossagent", include_external_packages=True, cache_dir=None)
    rooms = {"crossagent.algorithms", *graph.find_descendants("crossagent.algorithms")}
    assert len(rooms) > 3
    seen = {imported for room in rooms for imported in graph.find_modules_directly_imported_by(room)} - rooms
    assert "torch" in seen
    assert {name for name in seen if name not in sys.stdlib_module_names} <= {"torch", "jaxtyping"}


def test_minerl_loads_no_module_of_craftworld() -> None:
    code = (
        "import sys, crossagent_minerl.actions, crossagent_minerl.env, crossagent_minestudio.env;"
        "print(sorted(name for name in sys.modules if name.startswith(('crossagent_craftworld', 'numba'))))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCES))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources and of the contracts."""
    directory = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", directory)
    for source in SOURCES:
        shutil.copytree(source, directory / source.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__"))
    return directory


@pytest.fixture
def planted(copy: Path) -> Iterator[Path]:
    """The copy, which is as before after the test: a test appends to files or adds new ones."""
    before = {path: path.read_bytes() for path in copy.rglob("*.py")}
    yield copy
    for path in set(copy.rglob("*.py")) - set(before):
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)


def broken(directory: Path) -> tuple[list[str], str]:
    """Return which contracts are broken in a copy, and what is said."""
    result = lint(directory, [directory / source.relative_to(ROOT) for source in SOURCES])
    names = [
        contract["name"] for contract in CONFIGURATION["contracts"] if f"{contract['name']} BROKEN" in result.stdout
    ]
    assert (result.returncode != 0) is bool(names), result.stdout + result.stderr
    return names, result.stdout


LAYERS = "higher layers import lower ones only"
ACTS = "an environment does not know who acts in it"
LIGHTNING = "only training/ knows Lightning and the algorithms"
PUBLIC = "plugins see the public contract only"
STRANGERS = "worlds are strangers to each other"


@pytest.mark.parametrize(
    ("contract", "importer", "imported"),
    [
        (LAYERS, "crossagent.types", "crossagent.registry"),
        (LAYERS, "crossagent.algorithms.kl", "crossagent.types"),
        (ACTS, "crossagent.envs.base", "crossagent.spaces"),
        (LIGHTNING, "crossagent.pipeline.recipe_run", "lightning"),
        (LIGHTNING, "crossagent.cli", "crossagent.algorithms"),
        (PUBLIC, "crossagent_lightning_cli", "crossagent.pipeline"),
        (STRANGERS, "crossagent_minerl.actions", "crossagent_craftworld.world"),
        (STRANGERS, "crossagent_craftworld.world", "crossagent_minecraft.env"),
        (STRANGERS, "crossagent_miniwob.env", "crossagent_minestudio.env"),
    ],
)
def test_a_planted_violation_is_found(contract: str, importer: str, imported: str, planted: Path) -> None:
    """A contract that checks nothing would pass too."""
    (source,) = [s for s in SOURCES if (s / importer.split(".")[0]).is_dir()]
    place = planted / source.relative_to(ROOT) / importer.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    with open(file, "a") as opened:
        opened.write(f"\nimport {imported}\n")
    names, said = broken(planted)
    assert contract in names, said
    assert f"{importer} -> {imported}" in said


def test_every_room_but_the_public_ones_is_closed_to_plugins(planted: Path) -> None:
    """Rooms are found in the source tree, and one is added: the contract names what is open, not what is closed."""
    room = planted / "src" / "crossagent" / "new_room.py"
    room.write_text('"""A room that no contract names."""\n')
    home = planted / "src" / "crossagent"
    rooms = sorted(
        f"crossagent.{path.stem}"
        for path in home.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and not path.stem.startswith("__")
    )
    assert len(rooms) > 20
    with open(planted / "plugins/crossagent-api/src/crossagent_api/space.py", "a") as opened:
        opened.writelines(f"\nimport {name}\n" for name in rooms)
    names, said = broken(planted)
    assert PUBLIC in names
    found = {name for name in rooms if f"crossagent_api.space -> {name} " in said}
    assert set(rooms) - found == {"crossagent.plugin", "crossagent.testing", "crossagent.demonstrations"}


def test_a_new_room_may_not_know_lightning(planted: Path) -> None:
    (planted / "src" / "crossagent" / "new_room.py").write_text(
        '"""A room that no contract names."""\nimport lightning\n'
    )
    names, said = broken(planted)
    assert LIGHTNING in names
    assert "crossagent.new_room -> lightning" in said
