"""The command line as users meet it: speed, listings, and one message with exit code 2 for everything that is theirs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Plugin = Callable[[Path, str, str], Path]

TOY = """
environment: {name: toy}
spaces: {api: {weight: 0.02}, gui: {weight: 0.02}, control: {weight: 0.02}}
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return path


def fails(result: subprocess.CompletedProcess[str], *says: str) -> None:
    """Exit code 2, one message that says this, no traceback, nothing on standard output."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("crossagent: ")
    for text in says:
        assert text in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["eval", "--help"]])
def test_help_loads_neither_torch_nor_anything_heavy(python: Run, arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from crossagent.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'lightning', 'transformers', 'mlflow', 'numpy', 'pandas', 'omegaconf', 'rich', 'pluggy'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    assert "usage: crossagent" in result.stdout


@pytest.mark.parametrize(
    "module", ["crossagent.plugin", "crossagent.registry", "crossagent.recipe", "crossagent.testing"]
)
def test_what_listings_touch_loads_no_torch(python: Run, module: str) -> None:
    code = f"import sys, {module}; sys.exit(' '.join({{'torch', 'lightning', 'transformers'}} & set(sys.modules)) or 0)"
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


def test_every_command_is_in_the_help(crossagent: Run) -> None:
    result = crossagent("--help")
    assert result.returncode == 0
    for command in ("run", "eval", "plugins", "tasks", "check", "new-space", "new-environment", "export", "doctor"):
        assert re.search(rf"^    {command}\s", result.stdout, re.MULTILINE), command


def test_the_trace_shows_imports_and_hook_calls_beside_the_listing(
    crossagent: Run, fake_plugin: Callable[[Path, str, str], Path], tmp_path: Path
) -> None:
    broken = fake_plugin(tmp_path / "broken", "broken", "1 / 0\n")
    steps = json.loads(crossagent("plugins", "--trace", "--json", path=[broken]).stdout)["trace"]
    assert {"plugin", "step", "result", "error", "milliseconds"} == set(steps[0])
    by_name = {(step["plugin"], step["step"]): step for step in steps}
    assert by_name["api", "crossagent_action_spaces"]["result"] == "api"
    assert by_name["broken", "import"]["error"] == "ZeroDivisionError: division by zero"
    assert "trace" not in json.loads(crossagent("plugins", "--json").stdout)
    said = crossagent("plugins", "--trace", path=[broken]).stdout
    assert " ms  api  crossagent_action_spaces: api\n" in said
    assert " ms  broken  import: raised ZeroDivisionError: division by zero\n" in said


def test_plugins_as_json(crossagent: Run) -> None:
    listing = json.loads(crossagent("plugins", "--json").stdout)
    spaces = {space["name"]: space for space in listing["spaces"]}
    assert spaces["api"]["distribution"] == "crossagent-api"
    assert spaces["api"]["version"] == "1"
    assert spaces["api"]["requires"] == ["skills"]
    environments = {environment["name"]: environment for environment in listing["environments"]}
    assert environments["toy"]["distribution"] == "crossagent-toy"
    assert environments["toy"]["interfaces"] == ["control", "pointer", "skills"]
    assert [f for f in listing["failures"] if f["name"] in ("api", "gui", "control", "toy")] == []


def test_tasks_as_json(crossagent: Run) -> None:
    tasks = json.loads(crossagent("tasks", "toy", "--json").stdout)["tasks"]
    assert all(list(task) == ["name", "category", "splits", "solvable", "reason"] for task in tasks)
    by_name = {task["name"]: task for task in tasks}
    assert by_name["get:apple"] == {
        "name": "get:apple",
        "category": "get",
        "splits": ["train"],
        "solvable": True,
        "reason": "",
    }
    assert by_name["get:moon"]["reason"] == "it is out of this world"
    ood = json.loads(crossagent("tasks", "toy", "--split", "ood", "--json").stdout)["tasks"]
    assert [task["name"] for task in ood] == ["get:leaf", "make:sling", "catch:moth"]


def test_listings_as_tables(crossagent: Run) -> None:
    assert "crossagent-api" in crossagent("plugins").stdout
    assert "make:sling" in crossagent("tasks", "toy").stdout


def test_tasks_take_the_environment_s_options(crossagent: Run) -> None:
    assert "get:apple" in crossagent("tasks", "toy", "--option", "cells=9").stdout
    for word, said in (("cels=9", "unknown option 'cels'. Did you mean 'cells'?"), ("cells", "expected KEY=VALUE")):
        refused = crossagent("tasks", "toy", "--option", word)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


def test_print_config_is_a_recipe_that_composes_to_itself(crossagent: Run, recipe: Path, tmp_path: Path) -> None:
    first = crossagent("run", recipe, "--print-config", "seed=7", "stages.0=sft")
    assert first.returncode == 0, first.stderr
    assert "seed: 7" in first.stdout
    again = tmp_path / "again.yaml"
    again.write_text(first.stdout)
    assert crossagent("run", again, "--print-config").stdout == first.stdout
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_says_what_would_run_and_writes_nothing(crossagent: Run, recipe: Path, tmp_path: Path) -> None:
    result = crossagent("run", recipe, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "sft → strl → relabel → mtrl" in result.stdout
    assert "memory       mtrl: " in result.stdout
    assert result.stdout.endswith(f"start        crossagent run {recipe}\n")
    assert not (tmp_path / "runs").exists()


def test_a_plan_needs_no_weights_and_no_torch(crossagent: Run, python: Run, recipe: Path) -> None:
    said = json.loads(crossagent("plan", recipe, "plan.price_per_device_hour=2", "--json").stdout)
    assert [stage["stage"] for stage in said["stages"]] == ["sft", "strl", "relabel", "mtrl"]
    assert said["cost"] > 0
    assert said["problems"] == []
    code = (
        "import sys\n"
        "from crossagent.cli import main\n"
        f"assert main(['plan', {str(recipe)!r}]) == 0\n"
        "sys.exit(' '.join(sorted({'torch', 'lightning', 'transformers'} & set(sys.modules))) or 0)\n"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


def test_what_cannot_fit_is_refused(crossagent: Run, recipe: Path) -> None:
    small = [
        "trainer.accelerator=cuda", "plan.hardware=4090", "plan.memory_gib=2.2", "policy.model=somebody/7b",
        "plan.architecture={model_type: llama, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, "
        "intermediate_size: 11008, vocab_size: 32000}",
    ]  # fmt: skip
    result = crossagent("plan", recipe, *small)
    assert result.returncode == 2
    assert result.stderr.startswith("crossagent: toy does not fit: ")
    assert "Change: " in result.stderr
    dry = crossagent("run", recipe, *small, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "does not fit " in dry.stdout
    unknown = crossagent("run", recipe, "policy.model=somebody/7b", "--dry-run")
    assert unknown.returncode == 0, unknown.stderr
    assert "not planned  policy.model: 'somebody/7b' has no config.json on this machine" in unknown.stdout
    fails(crossagent("plan", recipe, "policy.model=somebody/7b"), "plan.architecture")


def test_a_blind_policy_is_refused(crossagent: Run, recipe: Path) -> None:
    pixels = ["environment.name=craftworld", "environment.options.observation=pixels"]
    fails(crossagent("run", recipe, *pixels, "--dry-run"), "observation: got 'pixels'", "it would act blindly", "both")
    assert crossagent("run", recipe, *pixels[:1], "environment.options.observation=both", "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["sede=1"], ["unknown key 'sede'", "Did you mean 'seed'?"]),
        (["policy.modle=x", "spaces.api.wieght=1"], ["'policy.modle'", "'spaces.api.wieght'", "'weight'"]),
        (["seed=two"], ["seed: got 'two' (str); expected an integer"]),
        (["spaces.apo={}"], ["'apo'", "Did you mean 'api'?"]),
        (["environment.name=tyo"], ["'tyo'", "Did you mean 'toy'?"]),
        (["training_tasks.splits=[trian]"], ["training_tasks.splits", "'trian'", "Did you mean 'train'?"]),
        (["training_tasks.tasks=[get:aple]"], ["training_tasks.tasks", "'get:aple'", "Did you mean 'get:apple'?"]),
        (["training_tasks.tasks=[get:moon]"], ["'get:moon'", "cannot be solved", "out of this world"]),
        (["stages=[mtrl,sft]"], ["stages: got [mtrl, sft]", "in the order [sft, mtrl]"]),
        (["stages=[sft,stlr]"], ["unknown stage 'stlr'", "Did you mean 'strl'?"]),
        (["spaces=null"], ["spaces: got null"]),
        (["demonstrations.mixture={apo: 1}"], ["demonstrations.mixture", "'apo'"]),
        (["demonstrations.splits=[train,ood]"], ["evaluation.suites.ood", "demonstrated"]),
        (["spaces.api.weight=-1"], ["weight: got -1"]),
        (["rollout.pool=rai"], ["rollout.pool", "'rai'", "Did you mean 'ray'?"]),
        (["rollout.pool=ray", "rollout.workers=0"], ["rollout.pool", "rollout.workers ≥ 1"]),
        (["trainer.devices=0"], ["trainer.devices: got 0; expected at least 1"]),
        (["policy.model=scratch-9m"], ["scratch-9m"]),
        (["trainer.accelerator=gpu0"], ["trainer.accelerator", "'gpu0'"]),
        (["trainer.strategy=deepspeed"], ["trainer.strategy", "Did you mean 'deepspeed_stage_"]),
        (["trainer.strategy=fsdp2", "trainer.precision=64-true"], ["precision", "'fsdp2' cannot", "32-true"]),
        (["spaces.control.options.tikcs=4"], ["control", "'tikcs'", "Did you mean 'ticks'?"]),
        (["environment.options.sells=4"], ["toy", "sells"]),
        (["policy.model=./nowhere"], ["policy.model", "nowhere"]),
        (["run_name=a/b"], ["run_name: got 'a/b'"]),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_is_written(
    crossagent: Run, recipe: Path, tmp_path: Path, overrides: list[str], says: list[str]
) -> None:
    fails(crossagent("run", recipe, *overrides), *says)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("package", "overrides"),
    [
        ("deepspeed", ["trainer.strategy=deepspeed_stage_2", "trainer.accelerator=cuda"]),
        ("ray", ["rollout.pool=ray", "rollout.workers=1"]),
    ],
)
def test_a_missing_extra_names_what_to_install(
    crossagent: Run, recipe: Path, tmp_path: Path, package: str, overrides: list[str]
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {package!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    result = crossagent("run", recipe, *overrides, path=[hidden])
    fails(result, package, f"pip install 'crossagent[{package}]'")


def test_a_truncated_model_is_refused_and_nothing_is_left(crossagent: Run, recipe: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "crossagent.json").write_text("{")
    fails(crossagent("run", recipe, "policy.model=model"), "model", "crossagent.json")
    assert not (tmp_path / "runs/toy").exists()


def test_a_missing_recipe_and_malformed_yaml(crossagent: Run, recipe: Path, tmp_path: Path) -> None:
    fails(crossagent("run", "tyo.yaml"), "tyo.yaml", "no such recipe", "toy.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("spaces: {api\nseed: 1\n")
    fails(crossagent("run", "bad.yaml"), "bad.yaml:", "malformed YAML")


def test_a_space_whose_interface_the_environment_lacks(crossagent: Run, fake_plugin: Plugin, tmp_path: Path) -> None:
    module = (
        "import dataclasses\n"
        "from crossagent.plugin import hookimpl\n"
        "from crossagent.testing import toy_environment\n"
        "@hookimpl\n"
        "def crossagent_environments():\n"
        "    return [dataclasses.replace(toy_environment(), name='mute', interfaces=('skills',), experts={})]\n"
    )
    plugin = fake_plugin(tmp_path / "mute", "mute", module)
    recipe = tmp_path / "mute.yaml"
    recipe.write_text("environment: {name: mute}\nspaces: {api: {}, gui: {}}\n")
    fails(crossagent("run", recipe, path=[plugin]), "gui", "mute", "pointer")


def test_a_broken_plugin_is_listed_and_only_a_recipe_that_asks_for_it_fails(
    crossagent: Run, fake_plugin: Plugin, recipe: Path, tmp_path: Path
) -> None:
    plugin = fake_plugin(tmp_path / "broken", "broken", "1 / 0\n")
    listing = json.loads(crossagent("plugins", "--json", path=[plugin]).stdout)
    failures = {failure["distribution"]: failure["reason"] for failure in listing["failures"]}
    assert "ZeroDivisionError" in failures["crossagent-broken"]
    assert "ZeroDivisionError" in crossagent("plugins", path=[plugin]).stdout
    assert crossagent("run", recipe, "--dry-run", path=[plugin]).returncode == 0
    fails(crossagent("run", recipe, "spaces.broken={}", path=[plugin]), "broken", "ZeroDivisionError")


def test_unknown_names_of_the_listings(crossagent: Run) -> None:
    fails(crossagent("tasks", "tyo"), "'tyo'", "Did you mean 'toy'?")
    fails(crossagent("tasks", "toy", "--split", "trian"), "'trian'", "Did you mean 'train'?")
    fails(crossagent("check", "apo"), "'apo'", "Did you mean 'api'?")


def test_checkpoints_that_cannot_be_read(crossagent: Run, recipe: Path, tmp_path: Path) -> None:
    fails(crossagent("eval", "nowhere"), "nowhere", "no such directory")
    fails(crossagent("export", "nowhere", "out"), "nowhere")
    (tmp_path / "empty").mkdir()
    fails(crossagent("eval", "empty"), "empty", "--recipe")
    fails(crossagent("eval", "empty", "--recipe", recipe), "empty")
    fails(crossagent("export", "empty", "out"), "empty")
    assert not (tmp_path / "out").exists()


def test_check_passes_for_a_good_space(crossagent: Run) -> None:
    result = crossagent("check", "api", "--environment", "craftworld", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["passed"] is True


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from crossagent import cli

    def broken(args: object) -> int:
        raise RuntimeError("ours")

    monkeypatch.setattr(cli, "_plugins", broken)
    with pytest.raises(RuntimeError, match="ours"):
        cli.main(["plugins"])


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from crossagent import cli

    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_plugins", interrupted)
    assert cli.main(["plugins"]) == 130
    assert "Traceback" not in capsys.readouterr().err
