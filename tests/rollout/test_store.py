import json
import math
import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossagent.demonstrations.collect import load_demonstrations
from crossagent.errors import DataError
from crossagent.rollout import store
from crossagent.rollout.store import (
    images_file,
    load_meta,
    load_trajectories,
    save_trajectories,
    step_file,
    write_rows,
)
from crossagent.types import Event, StopReason, Trajectory, Turn

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FLOAT = st.floats(allow_nan=False)


@st.composite
def turns(draw):
    logprobs = tuple(draw(st.lists(FLOAT, max_size=5)))
    return Turn(
        prompt_ids=tuple(draw(st.lists(st.integers(0, 2**31 - 1), max_size=5))),
        response_ids=tuple(draw(st.integers(0, 200_000)) for _ in logprobs),
        sampler_logprobs=logprobs,
        finish_reason=draw(st.sampled_from(["stop", "length"])),
        forced=draw(st.integers(0, 3)),
        observation=draw(TEXT),
        text=draw(TEXT),
        space=draw(st.none() | TEXT),
        payload=draw(JSON),
        invalid=draw(TEXT),
        ticks=draw(st.integers(0, 600)),
        reward=draw(FLOAT),
        cost=draw(FLOAT),
        error=draw(TEXT),
        events=tuple(draw(st.lists(st.builds(Event, TEXT, TEXT, st.integers(0, 99)), max_size=2))),
        anchor_key=draw(TEXT),
        space_logprobs=tuple(draw(st.lists(FLOAT, max_size=3))),
        image=draw(st.binary(max_size=9)),
    )


TRAJECTORIES = st.builds(
    Trajectory,
    task=TEXT,
    category=TEXT,
    env=TEXT,
    seed=st.integers(0, 2**63 - 1),
    group=st.integers(0, 99),
    member=st.integers(0, 9),
    turns=st.lists(turns(), max_size=3).map(tuple),
    stop_reason=st.sampled_from(StopReason),
    success=st.booleans(),
    state_hash=TEXT,
    spaces=st.lists(TEXT, max_size=3).map(tuple),
    failure=TEXT,
    instruction=TEXT,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TRAJECTORIES, max_size=3), st.dictionaries(TEXT, JSON, max_size=3))
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, trajectories, meta):
    path = tmp_path_factory.mktemp("store") / "t.parquet"
    save_trajectories(path, trajectories, meta)
    assert load_trajectories(path) == trajectories
    assert load_meta(path) == meta


def one(**changes):
    turn = Turn((1,), (2, 3), (-0.5, -math.pi), space="api", payload={"args": ("a", 1)}, ticks=3)
    values = {"task": "t", "category": "c", "env": "e", "seed": 1, "group": 0, "member": 0, "turns": (turn,)}
    return Trajectory(**{**values, "stop_reason": StopReason.terminated, "success": True, **changes})


def test_tuples_in_a_payload_come_back_as_lists(tmp_path):
    save_trajectories(tmp_path / "t.parquet", [one()])
    (loaded,) = load_trajectories(tmp_path / "t.parquet")
    assert loaded.turns[0].payload == {"args": ["a", 1]}
    assert loaded.turns[0].sampler_logprobs == (-0.5, -math.pi)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = step_file(tmp_path, 12)
    assert path.name == "step-000012.parquet"
    save_trajectories(path, [one()], {"step": 12})
    with pytest.raises(TypeError):
        save_trajectories(path, [one(turns=(Turn((), (), (), payload=object()),))])
    with pytest.raises(pa.ArrowException):
        save_trajectories(path, [one(seed="not a number")])
    assert load_trajectories(path) == [
        one(turns=(Turn((1,), (2, 3), (-0.5, -math.pi), space="api", payload={"args": ["a", 1]}, ticks=3),))
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["step-000012.parquet"]


def test_files_of_another_kind_or_schema_and_damaged_ones_are_named(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(DataError, match="no such file"):
        load_trajectories(path)
    save_trajectories(path, [one()])
    with pytest.raises(DataError, match="holds trajectories; expected demonstrations"):
        load_demonstrations(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        load_trajectories(path)
    write_rows(path, [{"a": 1}], pa.schema({"a": pa.int64()}), "trajectories", 99)
    with pytest.raises(DataError, match="schema 99; this version of crossagent reads schema 1, 2, 3"):
        load_trajectories(path)
    write_rows(path, [{"a": 1}], pa.schema({"a": pa.int64()}), "trajectories", 3)
    with pytest.raises(DataError, match="not trajectories of schema 3"):
        load_trajectories(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(DataError, match="did not write"):
        load_trajectories(path)


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_older_schemas_are_read_without_what_they_do_not_hold(tmp_path, monkeypatch, version):
    path = tmp_path / "t.parquet"
    lacking = ("space_logprobs", "image", "instruction") if version == 1 else ()
    turn = [pa.field("image", pa.binary()) if f.name == "image" else f for f in store._TURN if f.name not in lacking]
    old = [f for f in store._TRAJECTORY if f.name not in (*lacking, "turns")]
    monkeypatch.setattr(store, "_TRAJECTORY", pa.schema([*old, pa.field("turns", pa.list_(pa.struct(turn)))]))
    monkeypatch.setattr(store, "SCHEMA_VERSION", version)
    inside = store._turn_row
    monkeypatch.setattr(store, "_turn_row", lambda turn, images: {**inside(turn, {}), "image": turn.image})
    rich = replace(one().turns[0], payload=None, space_logprobs=(-1.0,), image=b"png")
    save_trajectories(path, [one(turns=(rich,), instruction="Go.")])
    monkeypatch.undo()
    assert not images_file(path).exists()
    expected = one(turns=(rich,), instruction="Go.")
    if version == 1:
        expected = one(turns=(replace(rich, space_logprobs=(), image=b""),))
    assert load_trajectories(path) == [expected]


def with_images(*images):
    return one(turns=tuple(replace(one().turns[0], payload=None, image=image) for image in images))


def test_images_lie_beside_once_each_and_in_equal_bytes(tmp_path):
    path = step_file(tmp_path, 3)
    played = [with_images(b"red", b"blue", b""), with_images(b"red", b"red")]
    save_trajectories(path, played)
    assert load_trajectories(path) == played
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000003.images.zip", "step-000003.parquet"]
    with zipfile.ZipFile(images_file(path)) as file:
        assert sorted(file.read(name) for name in file.namelist()) == [b"blue", b"red"]
        assert all(name.endswith(".png") for name in file.namelist())
    before = images_file(path).read_bytes()
    save_trajectories(path, played)
    assert images_file(path).read_bytes() == before
    save_trajectories(step_file(tmp_path, 4), [one()])
    assert not images_file(step_file(tmp_path, 4)).exists()


def test_images_that_are_missing_or_damaged_are_named(tmp_path):
    path = step_file(tmp_path, 3)
    save_trajectories(path, [with_images(b"red")])
    whole = images_file(path).read_bytes()
    images_file(path).write_bytes(whole[:20])
    with pytest.raises(DataError, match=r"step-000003\.images\.zip: damaged"):
        load_trajectories(path)
    save_trajectories(step_file(tmp_path, 4), [with_images(b"blue")])
    images_file(path).write_bytes(images_file(step_file(tmp_path, 4)).read_bytes())
    with pytest.raises(DataError, match="not the images of the trajectories beside it"):
        load_trajectories(path)
    images_file(path).unlink()
    with pytest.raises(DataError, match="no such file; the trajectories beside it have their images there"):
        load_trajectories(path)


def test_a_run_that_goes_on_can_be_read_at_any_moment(tmp_path):
    """A writer appends and replaces steps with images; a reader beside it never meets half a step."""
    code = (
        "import sys; from dataclasses import replace; from crossagent.rollout.store import *; "
        "from crossagent.types import *\n"
        "for n in range(60):\n"
        "    turn = Turn((1,), (2,), (0.0,), image=b'png %d' % (n % 6))\n"
        "    one = Trajectory('t', 'c', 'e', n, n % 6, 0, (turn,), StopReason.terminated, True)\n"
        "    save_trajectories(step_file(sys.argv[1], n % 6), [one])\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=env)
    read = 0
    while writer.poll() is None:
        for path in sorted(tmp_path.glob("*.parquet")):
            (found,) = load_trajectories(path)
            assert found.turns[0].image == b"png %d" % found.group
            read += 1
    assert writer.returncode == 0
    assert read > 6
    assert len(list(tmp_path.glob("*.parquet"))) == 6


def test_the_file_is_plain_parquet_whose_turns_can_be_queried(tmp_path):
    save_trajectories(tmp_path / "t.parquet", [one(), one(member=1)])
    table = pq.read_table(tmp_path / "t.parquet")
    turns_column = table.column("turns").combine_chunks().flatten()
    assert turns_column.field("space").to_pylist() == ["api", "api"]
    assert json.loads(turns_column.field("payload").to_pylist()[0]) == {"args": ["a", 1]}
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0).column(0).compression == "ZSTD"
