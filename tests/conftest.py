"""The toy world as an installed plugin, and the command line as users meet it: in a process of its own."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def fake_distribution(directory: Path, name: str, entry_points: str, files: dict[str, str]) -> Path:
    """Write what an installed package leaves in site-packages: modules, and metadata with entry points."""
    info = directory / f"{name.replace('-', '_')}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[crossagent]\n{entry_points}\n")
    for path, content in files.items():
        (directory / path).write_text(content)
    return directory


class FreshEnvironment:
    """A virtual environment of its own, offline: it sees this one's packages through a ``.pth`` file."""

    def __init__(self, directory: Path) -> None:
        venv.create(directory, with_pip=False, symlinks=True)
        self.directory, self.python = directory, directory / "bin" / "python"
        (site,) = (directory / "lib").glob("python*/site-packages")
        # addsitedir, unlike a bare path, also reads the .pth files of editable installs over there
        parent = sysconfig.get_path("purelib")
        (site / "parent.pth").write_text(f"import site; site.addsitedir({parent!r})\n")

    def build(self, package: Path, wheels: Path) -> Path:
        """Build the wheel of a package; return it."""
        self._do(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, cwd=package)
        return max(wheels.glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime_ns)

    def install(self, wheel: Path, again: bool = False) -> None:
        """Install a wheel, and nothing it depends on; ``again``: over what is there in the same version."""
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--no-deps", "--no-index")
        self._do(*pip, *(("--force-reinstall",) if again else ()), wheel, cwd=self.directory)

    def run(
        self, *arguments: str | Path, cwd: Path, timeout: float = 600, checkout: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run its Python; crossagent comes from this checkout, else from what is installed."""
        sources = SOURCES if checkout else [source for source in SOURCES if source.parent != ROOT]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources)), "OMP_NUM_THREADS": "1"}
        command = [str(self.python), *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)

    def _do(self, *command: str | Path, cwd: Path) -> None:
        done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def fresh_environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """An environment in which nothing is installed but what this one has."""
    return FreshEnvironment(tmp_path_factory.mktemp("fresh") / "venv")


@pytest.fixture(scope="session")
def fake_plugin() -> Callable[[Path, str, str], Path]:
    """Make a directory for PYTHONPATH with a plugin: (directory, name, code of its module)."""

    def make(directory: Path, name: str, code: str) -> Path:
        module = f"{name}_plugin"
        return fake_distribution(directory, f"crossagent-{name}", f"{name} = {module}", {f"{module}.py": code})

    return make


@pytest.fixture(scope="session")
def toy_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PYTHONPATH that makes the environment ``toy`` an installed plugin."""
    module = (
        "from crossagent.plugin import hookimpl\n"
        "from crossagent.testing import toy_environment\n\n"
        "@hookimpl\n"
        "def crossagent_environments():\n"
        "    return [toy_environment()]\n"
    )
    return fake_distribution(
        tmp_path_factory.mktemp("toy"), "crossagent-toy", "toy = toy_plugin", {"toy_plugin.py": module}
    )


@pytest.fixture(autouse=True)
def _matmul_as_torch_has_it() -> Iterator[None]:
    """A run chooses how float32 matrices are multiplied for its whole process; the next test is not to notice."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_float32_matmul_precision("highest")


@pytest.fixture
def python(tmp_path: Path, toy_plugin: Path) -> Run:
    """Run Python on our sources, with the toy world installed, in an empty directory."""

    def run(
        *arguments: str | Path, path: Sequence[Path] = (), timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [*path, toy_plugin, *SOURCES])),
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=timeout)

    return run


@pytest.fixture
def crossagent(python: Run) -> Run:
    """Run ``crossagent …``, as :func:`python` does."""
    return functools.partial(python, "-m", "crossagent")


def _tiny_vision(kind: str) -> dict[str, Any]:
    """A config.json of some 100k parameters, as the family's models have it."""
    rope: dict[str, Any] = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e6}
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 1024, "rope_parameters": rope,
    }  # fmt: skip
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2}
    if kind == "qwen2_vl":
        vision |= {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 32}
    if kind == "qwen2_5_vl":
        vision |= {"window_size": 56, "fullatt_block_indexes": [1]}
    if kind == "qwen3_vl":
        text |= {"head_dim": 8, "rope_parameters": {**rope, "mrope_interleaved": True}}
        vision |= {"patch_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    return {"model_type": kind, "text_config": text, "vision_config": vision}


@pytest.fixture(scope="session")
def tiny_vision() -> Callable[[str], dict[str, Any]]:
    """A config.json of a tiny model that sees, by its ``model_type``."""
    return _tiny_vision
