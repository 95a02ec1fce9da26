"""Samplers and commands of plugins: found by their hooks, used by a recipe and by the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crossagent.errors import MissingExtraError, PluginError, RecipeError
from crossagent.plugin import SamplerSpec
from crossagent.recipe.checks import validate
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import PluginSet, load_plugins
from crossagent.testing import toy_environment

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Plugin = Callable[[Path, str, str], Path]
TOY = """
environment: {name: toy}
spaces: {api: {weight: 0.02}}
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
stages: [sft]
rollout: {workers: 0, worlds_per_worker: 4}
demonstrations: {episodes: 12}
evaluation: {episodes: 3, experts: false, suites: {ood: null}}
tracking: {mlflow: false, plots: false}
"""
MUMBLER = """
from crossagent.plugin import Sample, SamplerSpec, hookimpl

class Mumbler:
    def __init__(self, policy, *, times=1):
        self.policy, self.times = policy, times

    def sample(self, requests, params):
        said = self.policy.tokenizer.encode(" apple") * self.times
        return [
            Sample((*r.forced_ids, *said, self.policy.eot_id), (0.0,) * (len(r.forced_ids) + len(said) + 1), "stop")
            for r in requests
        ]

class Silent:
    def __init__(self, policy):
        pass

@hookimpl
def crossagent_samplers():
    return [
        SamplerSpec("mumbler", "1", "mumble_plugin:Mumbler", "Says apple."),
        SamplerSpec("silent", "1", "mumble_plugin:Silent"),
        SamplerSpec("strict", "1", "mumble_plugin:Mumbler", constrains=True),
    ]
"""
COMMANDS = """
from crossagent.plugin import CommandSpec, hookimpl
from crossagent.testing import ToyWorld

def greet(words):
    print("hello", *words)
    return 3 if "--fail" in words else None

@hookimpl
def crossagent_commands():
    return [
        CommandSpec("greet", "1", "greeter_plugin:greet", "Say hello."),
        CommandSpec("run", "1", "greeter_plugin:greet", "Never reached."),
    ]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return path


@pytest.mark.slow
def test_a_recipe_is_played_by_the_sampler_it_names(
    crossagent: Run, fake_plugin: Plugin, tmp_path: Path, recipe: Path
) -> None:
    path = [fake_plugin(tmp_path / "site", "mumble", MUMBLER)]
    result = crossagent("run", recipe, "rollout.sampler={name: mumbler, options: {times: 2}}", path=path)
    assert result.returncode == 0, result.stderr
    from crossagent.rollout.store import load_trajectories

    (file,) = (tmp_path / "runs/toy/sft/trajectories").glob("evaluation-id-api.parquet")
    turns = [turn for trajectory in load_trajectories(file) for turn in trajectory.turns]
    assert turns
    assert {turn.text for turn in turns} == {"Api: apple apple"}
    versions = json.loads((tmp_path / "runs/toy/summary.json").read_text())["versions"]
    assert versions["crossagent-mumble"] == "0.1"


@pytest.mark.slow
def test_the_two_built_in_samplers_give_one_result(crossagent: Run, tmp_path: Path, recipe: Path) -> None:
    for name in ("fast", "generate"):
        result = crossagent("run", recipe, f"rollout.sampler.name={name}", f"run_name={name}")
        assert result.returncode == 0, result.stderr
    fast, generate = (json.loads((tmp_path / f"runs/{name}/summary.json").read_text()) for name in ("fast", "generate"))
    assert [s["eval"] for s in fast["stages"]] == [s["eval"] for s in generate["stages"]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "rollout.sampler.name=mumbler2",
            r"rollout.sampler: unknown sampler 'mumbler2'. .* Built in: fast, generate, vllm",
        ),
        ("rollout.sampler={name: mumbler, options: {time: 2}}", "unknown option 'time'. Did you mean 'times'"),
        ("rollout.sampler.options={times: 2}", "'fast' is built in and takes none"),
        ("rollout.sampler.name=vllm", "'vllm' composes its batches itself, so a run cannot be repeated bit by bit"),
        ("rollout.sampler={name: vllm, options: {pyton: x}}", "unknown option 'pyton'. Did you mean 'python'"),
        (
            "rollout={constrained: true, sampler: {name: mumbler}}",
            "'mumbler' does not declare that it keeps to a grammar",
        ),
    ],
)
def test_a_sampler_that_cannot_be_used_is_refused_before_anything_starts(
    change: str, says: str, recipe: Path, fake_plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(fake_plugin(tmp_path / "site", "mumble", MUMBLER)))
    with pytest.raises((PluginError, RecipeError), match=says):
        validate(load_recipe(recipe, [change]), load_plugins().with_(environment=toy_environment()))


def test_constrained_decoding_needs_a_sampler_that_declares_it_and_llguidance(
    recipe: Path, fake_plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(fake_plugin(tmp_path / "site", "mumble", MUMBLER)))
    plugins = load_plugins().with_(environment=toy_environment())
    monkeypatch.setattr("crossagent.recipe.checks._installed", lambda package: True)
    for name in ("fast", "generate", "strict"):
        validate(load_recipe(recipe, ["rollout.constrained=true", f"rollout.sampler.name={name}"]), plugins)
    changes = ["trainer.deterministic=false", "rollout={constrained: true, sampler: {name: vllm}}"]
    with pytest.raises(RecipeError, match="'vllm' does not declare that it keeps to a grammar"):
        validate(load_recipe(recipe, changes), plugins)
    monkeypatch.setattr("crossagent.recipe.checks._installed", lambda package: package != "llguidance")
    with pytest.raises(MissingExtraError, match=r"rollout.constrained: .* pip install 'crossagent\[constrained\]'"):
        validate(load_recipe(recipe, ["rollout.constrained=true"]), plugins)
    validate(load_recipe(recipe), plugins)


def test_what_is_no_sampler_is_named(fake_plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(fake_plugin(tmp_path / "site", "mumble", MUMBLER)))
    plugins = load_plugins()
    with pytest.raises(PluginError, match=r"'silent' of crossagent-mumble: .* returned Silent; expected .* sample"):
        plugins.build_sampler("silent", None)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=r"'mumbler' of crossagent-mumble: .* failed: TypeError"):
        plugins.build_sampler("mumbler", None, {"policy": 1})  # type: ignore[arg-type]


def test_a_sampler_needs_no_package() -> None:
    class Mine:
        def __init__(self, policy: object) -> None:
            self.policy = policy

        def sample(self, requests: object, params: object) -> list[object]:
            return []

    plugins = PluginSet().with_(sampler=SamplerSpec("mine", "1", Mine))  # type: ignore[arg-type]
    assert isinstance(plugins.build_sampler("mine", "policy"), Mine)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="'fast' is built in"):
        plugins.with_(sampler=SamplerSpec("fast", "1", "some:Thing"))


def test_a_command_of_a_plugin_gets_its_words_and_gives_its_code(
    crossagent: Run, fake_plugin: Plugin, tmp_path: Path
) -> None:
    path = [fake_plugin(tmp_path / "site", "greeter", COMMANDS)]
    result = crossagent("greet", "you", "--loud", path=path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "hello you --loud\n", "")
    assert crossagent("greet", "--fail", path=path).returncode == 3
    listed = crossagent("plugins", path=path).stdout
    assert "command: crossagent greet, crossagent-greeter 0.1: Say hello." in listed
    assert (
        "crossagent run, crossagent-greeter 0.1: Never reached. (never reached: crossagent has one of this name)"
        in listed
    )
    assert "usage: crossagent run" in crossagent("run", "--help", path=path).stdout


def test_an_unknown_command_and_a_broken_one_are_refused(crossagent: Run, fake_plugin: Plugin, tmp_path: Path) -> None:
    for word, said in (
        ("greet", "unknown command 'greet'. Known: "),
        ("rnu", "unknown command 'rnu'. Did you mean 'run'?"),
    ):
        unknown = crossagent(word)
        assert (unknown.returncode, unknown.stderr.startswith(f"crossagent: {said}")) == (2, True), unknown.stderr
    code = COMMANDS.replace("greeter_plugin:greet", "greeter_plugin:meet")
    broken = crossagent("greet", path=[fake_plugin(tmp_path / "site", "greeter", code)])
    assert broken.returncode == 2
    assert "command 'greet' of crossagent-greeter: " in broken.stderr
    assert "Traceback" not in broken.stderr
