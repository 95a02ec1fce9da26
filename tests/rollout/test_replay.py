"""Runs are replayed by the command that a user types: CraftWorld as it is installed, and the toy world."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crossagent.cli import main
from crossagent.plugin import SamplingParams
from crossagent.recipe.checks import CheckedRecipe, validate
from crossagent.recipe.compose import to_yaml
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import load_plugins
from crossagent.rollout.loop import Episode, play
from crossagent.rollout.replay import Difference
from crossagent.rollout.store import load_trajectories, save_trajectories, step_file
from crossagent.testing import toy_environment
from crossagent.types import Event, StopReason, Trajectory

RECIPE = """
environment: {{name: {world}}}
spaces: {{api: {{weight: 0.02}}, gui: {{}}, control: {{cost: {{plugin: 0, per_tick: 1, per_token: 0.5}}}}}}
stages: [mtrl]
policy: {{model: scratch-0.1m}}
rollout: {{workers: 1, worlds_per_worker: 4}}
"""
PARAMS = SamplingParams(max_new_tokens=48)


def plan_of(directory: Path, world: str) -> CheckedRecipe:
    (directory / "tiny.yaml").write_text(RECIPE.format(world=world))
    return validate(load_recipe(directory / "tiny.yaml"), load_plugins().with_(environment=toy_environment()))


@pytest.fixture(params=["toy", "craftworld"])
def run(request, tmp_path, monkeypatch, prompt, whimsical):
    """A run directory with one step of six trajectories."""
    installed = load_plugins().with_(environment=toy_environment())
    monkeypatch.setattr("crossagent.registry.plugin_set.load_plugins", lambda: installed)
    plan = plan_of(tmp_path, request.param)
    tasks = plan.training_tasks
    spaces = ("api", "gui", "control")
    listed = [Episode(replace(tasks[g], max_turns=9 - 7 * m), 10 + g, g, m, spaces) for g in range(3) for m in range(2)]
    with plan.open_pool() as pool:
        played = play(listed, pool=pool, sampler=whimsical, prompt=prompt, params=PARAMS, seed=1, step=0)
    (tmp_path / "recipe.yaml").write_text(to_yaml(plan.recipe))
    assert {turn.ticks > 0 for t in played for turn in t.turns} == {True, False}
    assert any(t.stop_reason is StopReason.cut for t in played)
    save_trajectories(step_file(tmp_path / "mtrl/trajectories", 1), played)
    return tmp_path


def change(run: Path, number: int, **fields) -> str:
    """Change one stored trajectory; return its name."""
    path = step_file(run / "mtrl/trajectories", 1)
    played = load_trajectories(path)
    played[number] = replace(played[number], **fields)
    save_trajectories(path, played)
    return f"mtrl/1/{played[number].group}.{played[number].member}"


def stored(run: Path, number: int) -> Trajectory:
    return load_trajectories(step_file(run / "mtrl/trajectories", 1))[number]


def test_a_run_that_is_what_it_says_is_identical(run, capsys):
    assert main(["replay", str(run)]) == 0
    assert "6 of 6 trajectories are identical" in capsys.readouterr().out
    assert main(["replay", str(run), "mtrl/1/1.0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"run": str(run), "replayed": 1, "identical": 1, "left_out": {}, "differences": []}


def test_the_first_difference_is_told_with_its_turn(run, capsys):
    number = next(n for n in range(6) if sum(turn.ticks > 0 for turn in stored(run, n).turns) >= 1)
    turns = stored(run, number).turns
    at = next(n for n, turn in enumerate(turns) if turn.ticks > 0)
    for field, value in (
        ("ticks", turns[at].ticks + 1),
        ("reward", 7.0),
        ("events", (*turns[at].events, Event("mine_block", "nothing"))),
        ("observation", "something else"),
    ):
        changed = (*turns[:at], replace(turns[at], **{field: value}), *turns[at + 1 :])
        name = change(run, number, turns=changed)
        assert main(["replay", str(run), name, "--json"]) == 1
        (difference,) = json.loads(capsys.readouterr().out)["differences"]
        assert (difference["trajectory"], difference["turn"], difference["what"]) == (name, at, field)
        assert difference["stored"] != difference["replayed"]
    name = change(run, number, turns=turns, state_hash="0123")
    assert main(["replay", str(run)]) == 1
    out = capsys.readouterr().out
    assert f"{name}: state_hash: stored '0123'" in out
    assert "beyond that, nothing differs" in out
    assert "5 of 6 trajectories are identical" in out


def test_endings_and_lengths_are_compared(run, capsys):
    number = next(n for n in range(6) if stored(run, n).stop_reason is not StopReason.cut)
    one = stored(run, number)
    name = change(run, number, success=not one.success)
    assert main(["replay", str(run), name]) == 1
    assert "success: stored" in capsys.readouterr().out
    name = change(run, number, success=one.success, stop_reason=StopReason.max_ticks)
    assert main(["replay", str(run), name]) == 1
    assert "ending: stored 'truncated'" in capsys.readouterr().out


def test_what_cannot_be_replayed_says_why(run, capsys):
    name = change(run, 0, env="")
    assert main(["replay", str(run), name]) == 2
    assert "a single turn of STRL: it was compared, not executed" in capsys.readouterr().err
    change(run, 1, task="no:such_task")
    assert main(["replay", str(run)]) == 0
    out = capsys.readouterr().out
    assert "left out 1: the environment has no task 'no:such_task' any more" in out
    assert "4 of 4" in out
    assert main(["replay", str(run), "mtrl/9/0.0"]) == 2
    assert main(["replay", str(run / "mtrl")]) == 2
    assert "not a run of crossagent" in capsys.readouterr().err


def test_a_difference_reads_as_a_sentence():
    assert str(Difference(3, "ticks", 4, 5)) == "turn 3: ticks: stored 4, replayed 5"
    assert "12 bytes of PNG" in str(Difference(0, "image", bytes(12), b""))
