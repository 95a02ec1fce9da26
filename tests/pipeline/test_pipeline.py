"""The whole line, small: the toy world, every stage, on CPU. What a run leaves, and that it is the same each time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from crossagent.cli import main
from crossagent.distributed import Ranks
from crossagent.errors import RecipeError, StageInterrupted
from crossagent.pipeline import recipe_run as pipeline
from crossagent.pipeline.evaluation import device_of
from crossagent.recipe.checks import CheckedRecipe, validate
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import load_plugins
from crossagent.rollout.store import load_trajectories
from crossagent.testing import toy_environment

RECIPE = """
environment: {name: toy}
spaces: {api: {weight: 0.02}, gui: {weight: 0.02}, control: {weight: 0.02}}
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
rollout: {workers: 1, worlds_per_worker: 8}
demonstrations: {episodes: 120}
sft: {epochs: 8, batch_size: 32, lr: 4e-3}
strl: {iterations: 1, groups: 8, group_size: 4}
relabel: {states: 12, samples: 2, sft: {epochs: 1, batch_size: 8}}
mtrl: {iterations: 2, groups: 2, group_size: 2, filter_zero_variance: false, drop_all_fail: false, evaluate_every: 1}
evaluation: {episodes: 6, validation_episodes: 2}
tracking: {mlflow: false}
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def plan(directory: Path, *overrides: str) -> CheckedRecipe:
    path = directory / "tiny.yaml"
    path.write_text(RECIPE)
    recipe = load_recipe(path, [f"runs_dir={directory / 'runs'}", *overrides])
    return validate(recipe, load_plugins().with_(environment=toy_environment()))


def weights(run: Path) -> dict[str, str]:
    files = sorted(run.glob("*/checkpoint/model.safetensors"))
    return {file.parts[-3]: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def timeless(summary: dict[str, Any]) -> dict[str, Any]:
    return {**summary, "stages": [{**stage, "seconds": None} for stage in summary["stages"]]}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One run from beginning to end, and its summary."""
    directory = tmp_path_factory.mktemp("unbroken")
    summary = pipeline.run(plan(directory), Console(quiet=True))
    return directory / "runs/tiny", summary


def test_the_summary_has_the_shape_that_is_promised(unbroken: tuple[Path, dict[str, Any]]) -> None:
    run, returned = unbroken
    summary = json.loads((run / "summary.json").read_text())
    assert summary == returned
    assert list(summary) == ["stages", "versions", "recipe_sha256"]
    assert [stage["stage"] for stage in summary["stages"]] == ["untrained", "sft", "strl", "relabel", "mtrl"]
    for stage in summary["stages"]:
        told = {"strl": ["two_spaces_can_earn"], "relabel": ["accepted", "moved", "choice"]}.get(stage["stage"])
        assert list(stage) == ["stage", "seconds", "eval", *(["found"] if told else [])]
        assert list(stage.get("found", [])) == (told or [])
        assert all(0 <= share <= 1 for share in stage.get("found", {}).values())
        assert stage["seconds"] > 0
        assert list(stage["eval"]) == ["id", "ood"]
        alone = ["api", "gui", "control"] if stage["stage"] in ("sft", "mtrl") else []
        for kinds in stage["eval"].values():
            assert list(kinds) == ["mixed", *alone]
            for kind, cell in kinds.items():
                assert list(cell) == ["success", "ci95", "return", "episodes", "turns", "ticks", "cost", "shares"]
                assert cell["episodes"] == 6
                assert 0 <= cell["ci95"][0] <= cell["success"] <= cell["ci95"][1] <= 1
                assert sum(cell["shares"].values()) == pytest.approx(1)
                assert cell["return"] == pytest.approx(cell["success"] - cell["cost"])
                if kind != "mixed":
                    assert cell["shares"][kind] == 1, "a single space has its header forced"
    assert summary["versions"]["crossagent-api"] == "0.1.0"


def test_a_run_leaves_what_the_readme_says(unbroken: tuple[Path, dict[str, Any]]) -> None:
    run, _ = unbroken
    for file in ("recipe.yaml", "demonstrations.parquet", "experts.json", "stages.png", "state.json"):
        assert (run / file).stat().st_size > 0
    for stage in ("sft", "strl", "relabel", "mtrl"):
        assert (run / stage / "checkpoint/model.safetensors").is_file()
        assert (run / stage / "metrics.jsonl").is_file()
        assert (run / stage / "trajectories/evaluation-id-mixed.parquet").is_file()
    assert len(list((run / "mtrl/trajectories").glob("step-*.parquet"))) == 2
    assert (run / "sft/curves.png").is_file()
    report = (run / "report.html").read_text()
    assert all(f">{stage}<" in report for stage in ("untrained", "sft", "strl", "relabel", "mtrl", "experts"))
    assert load_recipe(run / "recipe.yaml").sha256 == json.loads((run / "summary.json").read_text())["recipe_sha256"]
    ceilings = json.loads((run / "experts.json").read_text())["id"]
    assert list(ceilings) == ["mixed", "api", "gui", "control"]
    assert ceilings["mixed"]["success"] > 0
    assert len(set(weights(run).values())) == 5, "every stage changes the weights"


def test_the_same_recipe_and_seed_give_the_same_run_bit_by_bit(
    unbroken: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run, summary = unbroken
    again = pipeline.run(plan(tmp_path, "run_name=again", "tracking.plots=false"), Console(quiet=True))
    assert timeless(again) == timeless(summary)
    assert weights(tmp_path / "runs/again") == weights(run)


def test_another_seed_gives_another_run(unbroken: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, summary = unbroken
    other = pipeline.run(plan(tmp_path, "seed=1", "stages=[sft]", "evaluation.experts=false"), Console(quiet=True))
    assert other["recipe_sha256"] != summary["recipe_sha256"]
    assert weights(tmp_path / "runs/tiny")["sft"] != weights(run)["sft"]


@pytest.mark.parametrize("last_words", ["strl/train", "sft/eval"])
def test_an_interrupted_run_goes_on_with_the_next_step(
    unbroken: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_words: str
) -> None:
    from crossagent.pipeline.directory import RunDirectory

    finish, finished = RunDirectory.finish, []

    def finish_and_die(self: RunDirectory, step: str, result: dict[str, Any]) -> None:
        finish(self, step, result)
        finished.append(step)
        if step == last_words:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "finish", finish_and_die)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(plan(tmp_path), Console(quiet=True))
    assert finished[-1] == last_words
    if last_words == "strl/train":
        so_far = json.loads((tmp_path / "runs/tiny/summary.json").read_text())["stages"]
        assert so_far == [
            {**stage, "seconds": had["seconds"]} for stage, had in zip(unbroken[1]["stages"], so_far, strict=False)
        ]
        assert [stage["stage"] for stage in so_far] == ["untrained", "sft"], "written after each stage"
        assert "not complete" in (tmp_path / "runs/tiny/report.html").read_text()
    last_words, before = "", list(finished)
    summary = pipeline.run(plan(tmp_path), Console(quiet=True))
    assert not set(before) & set(finished[len(before) :]), "what has finished is not done again"
    run, unbroken_summary = unbroken
    assert timeless(summary) == timeless(unbroken_summary)
    assert weights(tmp_path / "runs/tiny") == weights(run)


def test_an_interrupt_while_a_stage_trains_is_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning makes an exit with code 1 of it, without a word."""
    import signal

    from crossagent.tracking.mlflow.tracker import Tracker

    def interrupt(self: Tracker, stage: str, metrics: object, step: int) -> None:
        if stage == "sft" and step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Tracker, "log_metrics", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(plan(tmp_path), Console(quiet=True))
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len((tmp_path / "runs/tiny/sft/metrics.jsonl").read_text().splitlines()) == 2


def test_a_continued_run_says_from_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crossagent.tracking.mlflow.tracker import Tracker

    small = (
        "sft.epochs=2",
        "sft.batch_size=8",
        "sft.checkpoint_every=2",
        "demonstrations.episodes=20",
        "evaluation.episodes=2",
    )

    def interrupt(self: Tracker, stage: str, metrics: object, step: int) -> None:
        if stage == "sft" and step == 3:
            raise StageInterrupted("stop")

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "log_metrics", interrupt)
        with pytest.raises(StageInterrupted):
            pipeline.run(plan(tmp_path, *small), Console(quiet=True))
    assert "goes on" not in capsys.readouterr().err
    monkeypatch.setattr(pipeline, "train_sft", lambda *_: (_ for _ in ()).throw(StageInterrupted("again")))
    with pytest.raises(StageInterrupted):
        pipeline.run(plan(tmp_path, *small), Console(quiet=True))
    assert "runs/tiny goes on: untrained done; sft continues after step 2" in capsys.readouterr().err


def test_a_complete_run_says_so_and_runs_nothing(
    unbroken: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, summary = unbroken
    console = Console(record=True, width=200, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert pipeline.run(plan(run.parent.parent), console) == summary
    assert "is complete" in (text := console.export_text())
    assert "mtrl" in text
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_recipe_under_the_same_name_is_refused_with_the_keys(unbroken: tuple[Path, dict[str, Any]]) -> None:
    run, _ = unbroken
    with pytest.raises(RecipeError, match="these keys differ") as caught:
        pipeline.run(plan(run.parent.parent, "seed=1", "spaces.api.weight=0.5"), Console(quiet=True))
    assert "seed: 0 → 1" in str(caught.value)
    assert "spaces.api.weight: 0.02 → 0.5" in str(caught.value)
    assert "run_name=tiny-2" in str(caught.value)


@pytest.fixture
def command(
    toy_plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, which has loaded torch already; return exit code, output and errors."""
    monkeypatch.syspath_prepend(toy_plugin)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def test_eval_repeats_what_the_run_found(
    unbroken: tuple[Path, dict[str, Any]], command: Callable[..., tuple[int, str, str]]
) -> None:
    run, summary = unbroken
    code, out, _ = command("eval", run, "--json", "--suite", "id")
    assert code == 0
    cell = json.loads(out)["eval"]["id"]["mixed"]
    expected = summary["stages"][-1]["eval"]["id"]["mixed"]
    assert {key: cell[key] for key in expected} == expected
    code, out, _ = command("eval", run / "sft", "--suite", "ood", "--spaces", "api", "--episodes", "3")
    assert code == 0
    assert "sft/checkpoint" in out
    assert "100 %" in out, "the share of the one space"
    code, _, err = command("eval", run, "--suite", "odo")
    assert code == 2
    assert "Did you mean 'ood'?" in err


def test_eval_goes_to_mlflow_report_and_sync_read_the_run_and_progress_can_be_json(
    unbroken: tuple[Path, dict[str, Any]],
    command: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    run = tmp_path / "runs/tiny"
    shutil.copytree(unbroken[0], run)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    short = ["--suite", "id", "--episodes", "2", "--json"]
    code, out, err = command("eval", run, "tracking.mlflow=true", *short, "--json-log")
    assert code == 0
    cell = json.loads(out)["eval"]["id"]["mixed"]
    events = [json.loads(line) for line in err.splitlines()]
    assert [e["event"] for e in events] == ["progress"], "nothing else is on standard error"
    assert events[0]["metrics"]["success"] == cell["success"]
    client = MlflowClient(tracking_uri=f"sqlite:///{run / 'mlflow.db'}")
    runs = {r.info.run_name.partition("-2")[0]: r for r in client.search_runs(["1"])}
    assert sorted(runs) == ["tiny", "tiny/eval-mtrl"]
    logged = runs["tiny/eval-mtrl"]
    assert logged.data.tags["mlflow.parentRunId"] == runs["tiny"].info.run_id
    assert logged.data.metrics["eval/id/mixed/success"] == cell["success"]
    assert [a.path for a in client.list_artifacts(logged.info.run_id)] == ["evaluation.json"]
    assert {r.info.status for r in runs.values()} == {"FINISHED"}

    code, out, _ = command("sync", run, "--json")
    assert (code, json.loads(out)["runs"][0]["sent"], json.loads(out)["runs"][0]["left"]) == (0, 0, 0)
    code, out, _ = command("sync", run, "--uri", "sqlite:///other.db")
    assert code == 0
    assert "6 records sent" in out
    assert command("sync", run / "sft")[0] == 2

    code, _, err = command("eval", run, *short, "--quiet")
    assert (code, err) == (0, "")
    code, out, err = command("eval", run, "--suite", "odo", "--json-log")
    assert code == 2
    assert json.loads(err)["event"] == "error"
    assert "Did you mean" in json.loads(err)["message"]

    code, out, _ = command("report", run, run, "-o", "both.html")
    assert (code, out) == (0, "wrote both.html\n")
    assert "Comparison" in (tmp_path / "both.html").read_text()
    code, out, _ = command("report", run, "--json")
    assert json.loads(out)["runs"][0]["complete"] is True
    code, _, err = command("report", run / "sft", "-o", "none.html")
    assert code == 2
    assert "state.json" in err
    assert not (tmp_path / "none.html").exists()


def test_an_export_loads_without_us(
    unbroken: tuple[Path, dict[str, Any]], command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run, _ = unbroken
    assert command("export", run, "plain")[0] == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "plain")) <= model.get_input_embeddings().num_embeddings
    code, _, err = command("export", run, "plain")
    assert code == 2
    assert "not empty" in err


def test_a_policy_plays_on_the_gpu_that_its_process_trains_on(monkeypatch: pytest.MonkeyPatch) -> None:
    second = Ranks(rank=9, size=16, local_rank=1, local_size=8)
    assert device_of("cuda", second) == torch.device("cpu"), "there is none here"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("cuda", second) == device_of("auto", second) == torch.device("cuda", 1)
    assert device_of("cpu", second) == torch.device("cpu")


def test_a_truncated_checkpoint_is_named(
    unbroken: tuple[Path, dict[str, Any]], command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    run, _ = unbroken
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    file = broken / "mtrl/checkpoint/model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    for words in (["eval", broken], ["export", broken, "out"]):
        code, out, err = command(*words)
        assert code == 2
        assert "model.safetensors" in err
        assert out == ""
    assert not (tmp_path / "out").exists()


def test_run_from_the_command_line_in_a_process_of_its_own(crossagent: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    small = [
        "stages=[sft]",
        "demonstrations.episodes=20",
        "sft.epochs=1",
        "evaluation.episodes=2",
        "tracking.mlflow=true",
    ]
    result = crossagent("run", "tiny.yaml", *small)
    assert result.returncode == 0, result.stderr
    assert "after" in result.stdout
    assert "expert" in result.stdout
    assert (tmp_path / "runs/tiny/mlflow.db").is_file()
    assert (tmp_path / "runs/tiny/model/README.md").read_text().startswith("---\nlibrary_name: transformers")
    assert (tmp_path / "runs/tiny/model/model.safetensors").is_file()
    assert result.stderr.count("MLflow") == 0, "all of it arrived"
    again = crossagent("run", "tiny.yaml", *small)
    assert again.returncode == 0
    assert "is complete" in again.stdout
    changed = crossagent("run", "tiny.yaml", *small, "seed=1")
    assert changed.returncode == 2
    assert "seed: 0 → 1" in changed.stderr


@pytest.mark.slow
def test_the_kl_can_be_to_an_earlier_stage_and_what_hardly_works_as_meant_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, given = pipeline.train_grpo, []

    def spy(*arguments: Any, reference: Any = None) -> Any:
        given.append({name: value.clone() for name, value in reference.state_dict().items()})
        return train(*arguments, reference=reference)

    monkeypatch.setattr(pipeline, "train_grpo", spy)
    overrides = ["mtrl.reference=untrained", "mtrl.kl_coef=0.01", "mtrl.scale=group", "sft.epochs=1"]
    small = ["stages=[sft,mtrl]", "evaluation.experts=false", "evaluation.episodes=2", "tracking.plots=false"]
    pipeline.run(plan(tmp_path, *overrides, *small), Console(quiet=True))
    run = tmp_path / "runs/tiny"
    (reference,) = given
    for stage, same in (("untrained", True), ("sft", False)):
        stored = pipeline.Policy.load(run / stage / "checkpoint").state_dict()
        assert all(value.equal(reference[name]) for name, value in stored.items()) == same
    first = json.loads((run / "mtrl/metrics.jsonl").read_text().splitlines()[0])
    assert first["train/kl"] > 0.05  # the untrained policy is far away
    assert "mtrl.scale: group with λ > 0" in capsys.readouterr().err


@pytest.mark.slow
def test_under_constrained_decoding_every_turn_of_a_run_is_an_action(tmp_path: Path) -> None:
    pytest.importorskip("llguidance", reason="pip install 'crossagent[constrained]'")
    few = ["demonstrations.episodes=20", "mtrl.iterations=1", "evaluation.episodes=3", "evaluation.experts=false"]
    pipeline.run(plan(tmp_path, "stages=[strl, mtrl]", "rollout.constrained=true", *few), Console(quiet=True))
    stored = sorted((tmp_path / "runs/tiny").glob("*/trajectories/*.parquet"))
    turns = {f: [u for t in load_trajectories(f) for u in t.turns] for f in stored if "credit" not in f.name}
    assert {file.parts[-3] for file in turns} == {"untrained", "strl", "mtrl"}
    assert all(turns.values())
    assert not [turn.text for some in turns.values() for turn in some if turn.invalid]
