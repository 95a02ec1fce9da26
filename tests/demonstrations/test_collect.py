import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.demonstrations.collect import (
    CollectStats,
    apportion,
    collect,
    load_demonstrations,
    save_demonstrations,
)
from crossagent.envs.recording import Demonstration, DemoTurn, order_of_choice, with_feedback
from crossagent.envs.workers.pool import WorkerPool
from crossagent.errors import DataError, RecipeError, TaskError
from crossagent.testing import ToySuite

TASKS = [t for t in ToySuite().tasks() if {"train", "demo"} & set(t.splits)]
MIXTURE = {"api": 1, "gui": 1, "control": 1, "mixed": 2}


def gather(pool, episodes=60, **more):
    return collect(pool, TASKS, **{"episodes": episodes, "mixture": MIXTURE, "seed": 11, **more})


def test_demonstrations_are_the_same_for_any_number_of_workers(toy):
    played = []
    for workers, worlds in ((0, 4), (1, 2), (2, 3)):
        with WorkerPool(toy, workers, worlds, timeout_s=30) as pool:
            played.append(gather(pool))
    assert played[0] == played[1] == played[2]
    with WorkerPool(toy, 0, 1, timeout_s=30) as pool:
        assert gather(pool, seed=12) != played[0]


def test_only_successes_are_kept_balanced_by_weight(pool):
    stats = CollectStats()
    played = gather(pool, episodes=200, stats=stats)
    assert all(d.success and d.turns and d.end == "terminated" for d in played)
    kinds = [d.kind for d in played]
    assert {kind: kinds.count(kind) for kind in MIXTURE} == {"api": 40, "gui": 40, "control": 40, "mixed": 80}
    assert stats.kept == {"api": 40, "gui": 40, "control": 40, "mixed": 80}
    for kind in MIXTURE:
        assert stats.attempted[kind] >= stats.kept[kind] + stats.unsuccessful[kind] > 0
    assert set(stats.given_up["api"]) == {t.name for t in TASKS if t.category != "get"}


def test_kinds_use_their_space_and_the_prompt_lists_it_alone(pool):
    played = gather(pool, episodes=200)
    for demo in played:
        used = {turn.space for turn in demo.turns}
        if demo.kind == "mixed":
            assert demo.spaces == ("api", "gui", "control")
        else:
            assert used == {demo.kind}
            assert demo.spaces == (demo.kind,)
    changing = [d for d in played if d.kind == "mixed" and len({t.space for t in d.turns}) > 1]
    assert len(changing) >= 15, "of 80; these episodes last two to four turns"


def test_single_space_episodes_are_shown_again_under_all_spaces_when_asked(pool):
    plain, more = gather(pool), gather(pool, also_under_all=0.5)
    again = [d for d in more if d.kind != "mixed" and len(d.spaces) == 3]
    assert len(again) == 18
    assert [d for d in more if d not in again] == plain
    assert {(d.task, d.seed, d.turns) for d in again} <= {(d.task, d.seed, d.turns) for d in plain}


def test_a_recording_replays_to_the_same_observations_and_success(pool):
    suite = ToySuite()
    for demo in gather(pool, episodes=20):
        started = pool.call("reset", 0, suite.get(demo.task), demo.seed)
        observation = started.observation.text
        for turn in demo.turns:
            assert turn.observation == observation
            acted = pool.call("act", 0, turn.text, demo.spaces)
            assert (acted.space, acted.ticks, acted.cost, acted.error) == (
                turn.space,
                turn.ticks,
                turn.cost,
                turn.error,
            )
            observation = acted.observation.text
        assert acted.success


def test_failed_episodes_are_kept_when_asked(pool):
    played = gather(pool, keep_failed=True)
    assert {d.success for d in played} == {True, False}
    assert {d.end for d in played if not d.success} <= {"stuck", "max_turns", "max_ticks"}


def test_a_world_that_breaks_costs_its_demonstration_only(faulty, toy):
    with WorkerPool(toy, 0, 1, timeout_s=5) as pool:
        played = gather(pool)
    broken = sorted({d.seed for d in played})[:5]
    stats = CollectStats()
    with WorkerPool(faulty(fault="exit", seeds=broken), 2, 4, timeout_s=5) as pool:
        survived = gather(pool, stats=stats)
        assert pool.restarts >= 5
    assert len(survived) == len(played)
    assert not {d.seed for d in survived} & set(broken)
    assert sum(stats.failures.values()) >= 5


def test_what_no_expert_can_do_is_an_error_and_a_shortfall_is_told(pool, caplog):
    moths = [ToySuite().get("catch:moth")]
    with pytest.raises(TaskError, match=r"no expert solved any of 1 tasks \(api\)"):
        collect(pool, moths, episodes=5, mixture={"api": 1}, seed=0)
    with pytest.raises(TaskError, match="no solvable task"):
        collect(pool, [ToySuite().get("get:moon")], episodes=5, mixture={"api": 1}, seed=0)
    with pytest.raises(RecipeError, match=r"unknown kind 'apo'\. Did you mean 'api'"):
        collect(pool, moths, episodes=5, mixture={"apo": 1}, seed=0)
    with caplog.at_level("WARNING"):
        played = collect(pool, moths, episodes=6, mixture={"api": 1, "control": 1, "gone": 0}, seed=0)
    assert {d.kind for d in played} == {"control"}
    assert "demonstrations api: only 0 of 3" in caplog.text


def test_progress_ends_at_what_was_wanted(pool):
    seen = []
    gather(pool, progress=lambda kept, wanted: seen.append((kept, wanted)))
    assert seen[-1] == (60, 60)
    assert seen == sorted(seen)


@given(st.integers(0, 500), st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1))
def test_apportioned_counts_add_up_and_are_within_one_of_their_share(total, weights):
    counts = apportion(total, weights)
    assert sum(counts.values()) == total
    assert all(abs(counts[k] - total * w / sum(weights.values())) < 1 for k, w in weights.items())


def test_apportion_by_hand():
    assert apportion(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert apportion(7, {"a": 0, "b": 2, "c": 1.5}) == {"a": 0, "b": 4, "c": 3}
    with pytest.raises(RecipeError, match="shares"):
        apportion(3, {"a": 0})


def test_the_choice_stays_when_it_may_and_leaves_what_failed():
    names = ("a", "b", "c")
    assert order_of_choice(names, None, None, True, ["c", "a", "b"]) == ["c", "a", "b"]
    assert order_of_choice(names, "b", None, True, ["c", "a", "b"]) == ["b", "c", "a"]
    assert order_of_choice(names, "b", None, False, ["c", "a", "b"]) == ["c", "a", "b"]
    assert order_of_choice(names, "b", "b", True, ["c", "a", "b"]) == ["c", "a", "b"]
    assert order_of_choice(("a",), "a", "a", True, ["a"]) == ["a"]


def test_feedback_is_short_and_on_one_line():
    assert with_feedback("you see a tree", "", "") == "you see a tree; last ok"
    assert with_feedback("x", "no header: expected …", "ignored") == "x; last invalid"
    assert with_feedback("x", "", "no path\n to oak") == "x; last failed: no path to oak"
    assert len(with_feedback("", "", "y" * 500)) < 70


def test_a_file_of_demonstrations_round_trips_and_others_are_refused(pool, tmp_path):
    played, path = gather(pool, episodes=15), tmp_path / "deep" / "demos.parquet"
    save_demonstrations(path, played, {"recipe": "x"})
    assert load_demonstrations(path) == played
    save_demonstrations(path, [])
    assert load_demonstrations(path) == []
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(DataError, match="did not write"):
        load_demonstrations(path)


def test_pictures_are_kept_and_files_of_the_schema_before_are_read(tmp_path):
    turns = (DemoTurn("o", "Api: x()", "api", image=b"\xff\xd8"), DemoTurn("o", "Api: y()", "api"))
    demo = Demonstration("t", "c", 3, ("api",), turns, True, "api", "go", "terminated")
    save_demonstrations(tmp_path / "new.parquet", [demo])
    assert load_demonstrations(tmp_path / "new.parquet") == [demo]
    table = pq.read_table(tmp_path / "new.parquet")
    rows = table.to_pylist()
    for turn in rows[0]["turns"]:
        del turn["image"]
    inner = pa.struct([field for field in table.schema.field("turns").type.value_type if field.name != "image"])
    columns = [pa.field("turns", pa.list_(inner)) if f.name == "turns" else f for f in table.schema]
    header = {b"crossagent": json.dumps({"kind": "demonstrations", "schema": 1, "meta": {}}).encode()}
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(columns, header)), tmp_path / "old.parquet")
    without = replace(demo, turns=tuple(replace(turn, image=b"") for turn in turns))
    assert load_demonstrations(tmp_path / "old.parquet") == [without]


def test_more_than_fit_into_one_batch_are_written_as_they_come(tmp_path):
    demos = [Demonstration(f"t{i}", "c", i, ("api",), (), True, "api") for i in range(2500)]
    save_demonstrations(tmp_path / "many.parquet", iter(demos))
    assert load_demonstrations(tmp_path / "many.parquet") == demos
    assert pq.ParquetFile(tmp_path / "many.parquet").num_row_groups == 3
