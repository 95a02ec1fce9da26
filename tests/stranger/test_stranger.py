"""A package that nobody here has seen: built, installed beside crossagent in an environment of its own, and used.

Slow and offline: the fresh environment sees this one's packages through a ``.pth`` file, so nothing is downloaded.
Each test is one thing a stranger does with the command line; they share the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from crossagent.testing import ToySuite, ToyWorld, check_action_space

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = HERE / "crossagent-stranger"
SPECIAL = ("<|go|>", "<|hit|>")
OURS = [ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment in which the stranger's wheel is installed."""
    tmp = tmp_path_factory.mktemp("stranger")
    shutil.copytree(PACKAGE, tmp / "package", ignore=shutil.ignore_patterns("__pycache__", "dist"))
    run = {"check": True, "timeout": 300, "capture_output": True, "text": True}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp / "dist")],
        cwd=tmp / "package",
        **run,  # type: ignore[call-overload]
    )
    (wheel,) = (tmp / "dist").glob("*.whl")
    venv.create(tmp / "venv", with_pip=False, symlinks=True)
    interpreter = tmp / "venv" / "bin" / "python"
    (site,) = (tmp / "venv" / "lib").glob("python*/site-packages")
    # addsitedir, unlike a bare path, also reads the .pth files of editable installs over there
    parent = sysconfig.get_path("purelib")
    (site / "parent.pth").write_text(f"import site; site.addsitedir({parent!r})\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--no-deps", "--no-index", str(wheel)],
        **run,  # type: ignore[call-overload]
    )
    return interpreter


def crossagent(python: Path, *args: str) -> str:
    """Run the command line in the stranger's environment; the code under test comes from this checkout."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, OURS))}
    done = subprocess.run(
        [str(python), "-m", "crossagent", *args],
        env=env,
        cwd=python.parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_space_is_listed_with_its_package(python: Path) -> None:
    listing = json.loads(crossagent(python, "plugins", "--json"))
    (talk,) = [row for row in listing["spaces"] if row["name"] == "talk"]
    assert (talk["distribution"], talk["distribution_version"]) == ("crossagent-stranger", "0.3.0")
    assert talk["requires"] == ["control"]
    assert "crossagent-stranger" not in {row["distribution"] for row in listing["failures"]}


@pytest.mark.slow
def test_the_space_is_checked(python: Path) -> None:
    report = json.loads(crossagent(python, "check", "talk", "--environment", "craftworld", "--json"))
    assert report == {"name": "talk", "passed": True, "findings": [], "left_out": []}


@pytest.fixture(scope="module")
def run(python: Path) -> Path:
    """A run of all stages, a few steps each, over the stranger's space and one of ours."""
    home = python.parents[2]
    (home / "stranger.yaml").write_text(
        "environment: {name: craftworld, options: {skills: basic}}\n"
        "spaces: {talk: {weight: 0.02}, api: {weight: 0.02}}\n"
        "policy: {model: scratch-0.1m}\n"
        "prompt: {style: compact, history: 0, fragments: headers}\n"
        "demonstrations: {mixture: {talk: 2, api: 1, mixed: 1}}\n"
    )
    crossagent(python, "run", "stranger.yaml", str(ROOT / "recipes/debug/one_step.yaml"), "sft.epochs=4")
    return home / "runs" / "stranger-one_step"


@pytest.mark.slow
def test_the_space_is_trained(run: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    for stage in ("untrained", "sft"):
        tokenizer = AutoTokenizer.from_pretrained(run / stage / "checkpoint")
        ids = [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL]
        assert len(set(ids)) == 2
        assert tokenizer.unk_token_id not in ids
        assert [tokenizer.encode(token, add_special_tokens=False) for token in SPECIAL] == [[i] for i in ids]
    name = "model.embed_tokens.weight"
    before, after = (
        load_file(run / stage / "checkpoint" / "model.safetensors")[name] for stage in ("untrained", "sft")
    )
    for token in ids:
        assert not before[token].equal(after[token]), "a space's own tokens learn"
    summary = json.loads((run / "summary.json").read_text())
    assert [stage["stage"] for stage in summary["stages"]] == ["untrained", "sft", "strl", "relabel", "mtrl"]
    assert set(summary["stages"][1]["eval"]["id"]) == {"mixed", "talk", "api"}


@pytest.mark.slow
def test_the_space_is_evaluated_by_itself(python: Path, run: Path) -> None:
    report = json.loads(crossagent(python, "eval", str(run), "--spaces", "talk", "--episodes", "4", "--json"))
    for cells in report["eval"].values():
        assert set(cells) == {"talk"}
        assert cells["talk"]["episodes"] == 4
        assert cells["talk"]["shares"].get("api", 0) == 0


@pytest.mark.slow
def test_a_policy_with_the_space_is_exported(python: Path, run: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    crossagent(python, "export", str(run), str(tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for token in SPECIAL:
        (i,) = tokenizer.encode(token, add_special_tokens=False)
        assert tokenizer.decode([i]) == token
        assert i < model.get_input_embeddings().num_embeddings


@pytest.mark.slow
def test_crossagent_loads_without_the_stranger_too() -> None:
    from crossagent.registry.plugin_set import load_plugins

    assert "talk" not in load_plugins().spaces


def test_the_space_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    import crossagent_stranger

    tasks = [task for task in ToySuite().tasks() if task.solvable]
    assert check_action_space(crossagent_stranger.TalkSpace(), ToyWorld(), tasks) == []
