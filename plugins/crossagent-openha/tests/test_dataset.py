"""Rows of OpenHA's schema, synthetic: read, refused, written, and read again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossagent.cli import main
from crossagent.demonstrations import DataError, Demonstration, DemoTurn, load_demonstrations, save_demonstrations
from crossagent.plugin import Action
from crossagent_openha import dataset, prompts
from crossagent_openha.dataset import Malformed, Report, read_demonstrations, to_demonstration, to_rows
from crossagent_openha.grounding import Ground
from crossagent_openha.raw import Raw

SPACES = prompts.spaces()
LOG = "<|object_ref_start|>oak log<|object_ref_end|><|point_start|>(520,480)<|point_end|>"


def picture(shade: int = 90, kind: str = "JPEG", size: tuple[int, int] = (64, 36)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 120, 60)).save(buffer, kind)
    return buffer.getvalue()


def user(*items: str | None) -> dict[str, Any]:
    """Return a user's message: texts, and None for a picture."""
    return {"role": "user", "content": [{"type": "image"} if i is None else {"type": "text", "text": i} for i in items]}


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def row(*messages: dict[str, Any], images: list[Any] | None = None, name: str = "a/0") -> dict[str, Any]:
    pictures = sum(item["type"] == "image" for m in messages if isinstance(m.get("content"), list) for item in m["content"] if isinstance(item, dict))  # fmt: skip
    return {
        "id": name,
        "conversations": list(messages),
        "image": [picture(i) for i in range(pictures)] if images is None else images,
    }


def read(one: dict[str, Any], **options: Any) -> Demonstration:
    return to_demonstration(one, SPACES, **options)


def write_parquet(path: Path, rows: list[dict[str, Any]], image: pa.DataType | None = None) -> Path:
    content = pa.list_(pa.struct({"type": pa.string(), "text": pa.string()}))
    schema = pa.schema(
        {
            "id": pa.string(),
            "image": pa.list_(image or pa.binary()),
            "conversations": pa.list_(pa.struct({"role": pa.string(), "content": content})),
        }
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


RELEASED = row(
    user(f"A prompt of theirs.\nWith lines.\n{prompts.MARK}\nmine oak log", None),
    answer("Action: move('3.0', '0.0') and press(w) "),
    user(None),
    answer(f"Grounding: Mine {LOG} \n, Action: click(left)"),
    user(None, "aim oak_log 3"),
    answer("Motion: sprint, move forward\n, Action: move(0, 0) and press()"),
)


def test_a_conversation_becomes_a_demonstration() -> None:
    found = read(RELEASED)
    assert (found.task, found.category, found.instruction) == ("mine_block:oak_log", "mine_block", "mine oak log")
    assert (found.spaces, found.kind) == (("text_action", "grounding_coa", "motion_coa"), "mixed")
    assert found.texts == (
        "Action: move(3, 0) and press(w)",
        f"Grounding: Mine {LOG} \n, Action: click(left)",
        "Motion: move forward, sprint \n, Action: no_op",
    )
    assert [turn.observation for turn in found.turns] == ["", "", "aim oak_log 3"]
    assert [turn.image for turn in found.turns] == RELEASED["image"]
    assert found.turns[1].segments[-1] == ("action", found.texts[1].index("\n") + 1)
    assert not any(turn.image for turn in read(RELEASED, pictures=False).turns)
    assert read(RELEASED, listed=("text_action",)).spaces == ("text_action",)


def test_what_a_row_may_look_like() -> None:
    plain = [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "Some prompt\nKill a cow."},
        answer("Motion: jump"),
    ]
    found = read(row(*plain))
    assert (found.task, found.kind, found.instruction) == ("kill_entity:cow", "motion", "Kill a cow.")
    point = {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Grounding: Kill "},
            {"type": "point", "point": [[52.09, 100.0]], "label": "cow"},
        ],
    }
    text = "Grounding: Kill <|object_ref_start|>cow<|object_ref_end|><|point_start|>(520,999)<|point_end|>"
    assert read(row(user("kill a cow", None), point)).texts == (text,)
    named = read(row(user("do it", None), answer("Action: no_op"), name="craft_item:arrow/7/0"))
    assert (named.task, named.category) == ("craft_item:arrow", "craft_item")
    nobody = read(row(user("Build a house!", None), answer("Action: no_op")))
    assert (nobody.task, nobody.category) == ("openha:build_a_house", dataset.OTHER)
    stored = read(
        row(user("kill a cow", None), answer("Action: no_op"), images=[{"bytes": picture(kind="PNG"), "path": "x.png"}])
    )
    assert stored.turns[0].image == picture(kind="PNG")


GOOD = (user("mine dirt", None), answer("Action: no_op"))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"id": "a", "conversations": None, "image": []}, "conversations is NoneType"),
        ({"id": "a", "conversations": [], "image": []}, "expected a list of messages"),
        (row({"role": None, "content": "x"}), "message 0: expected role and content"),
        (row({"role": "user", "content": 3}), "message 0: content is int"),
        (row({"role": "user", "content": [{"type": "video"}]}), "message 0: content of type 'video'"),
        (row({"role": "tool", "content": "x"}), "message 0: role is 'tool'"),
        (row(user("mine dirt", None), user(None), answer("Action: no_op")), "message 1: two of the user's in a row"),
        (row(answer("Action: no_op")), "message 0: an answer to nothing"),
        (row(user("mine dirt", None)), "no answer in it"),
        (row(user(" \n"), answer("Action: no_op")), "message 0: no instruction"),
        (row(user(f"x\n{prompts.MARK}\n", None), answer("Action: no_op")), "message 0: no instruction"),
        (row(*GOOD[:1], answer("I would walk.")), "message 1: 'I would walk.' begins with none of Motion:"),
        (row(*GOOD[:1], answer("Motion: fly")), "message 1: 'Motion: fly': no motion 'fly'"),
        (row(*GOOD, images=[]), "message 0: picture 1 is named, but image has 0"),
        (row(*GOOD, images=[picture(), picture()]), "2 pictures, but the messages name 1"),
        (row(*GOOD, images=[None]), "picture 1 is NoneType"),
        (row(*GOOD, images=[b"MZ no picture"]), "picture 1 is no whole JPEG or PNG"),
        (row(*GOOD, images=[picture()[:-200]]), "picture 1 is no whole JPEG or PNG"),
        (row(*GOOD, images=[picture(kind="GIF")]), "picture 1 is no whole JPEG or PNG"),
        (row(*GOOD, images=[picture(size=(5000, 2))]), "picture 1 has 5000x2 pixels"),
        (row(*GOOD[:1], {"role": "assistant", "content": [{"type": "point", "point": [["x", 1]]}]}), "message 1: a point that is none"),
        (row(*GOOD[:1], {"role": "assistant", "content": [{"type": "image"}]}, images=[picture()] * 2), "message 1: a picture in an answer"),
    ],
)  # fmt: skip
def test_a_malformed_row_says_what_is_wrong(broken: dict[str, Any], reason: str) -> None:
    with pytest.raises(Malformed) as said:
        read(broken)
    assert reason in str(said.value)


PAYLOADS: dict[str, list[Any]] = {
    "text_action": [Raw(), Raw((19, -4), ("w", "left.control"), ("left",))],
    "motion": [(), ("move forward", "turn left and up", "jump")],
    "grounding": [Ground("Explore"), Ground("Mine", "oak log", ((881, 558),))],
    "motion_coa": [(("jump",), Raw(keys=("space",)))],
    "grounding_coa": [(Ground("move_camera", "", ((5, 6),)), Raw((-30, 2)))],
}
TEXTS = [
    (name, SPACES[name].tokenizer.encode(Action(name, p))) for name, payloads in PAYLOADS.items() for p in payloads
]
PICTURES = [picture(10), picture(200, "PNG")]


@st.composite
def demonstrations(draw: st.DrawFn) -> Demonstration:
    turns = []
    for _ in range(draw(st.integers(1, 5))):
        space, text = draw(st.sampled_from(TEXTS))
        seen = draw(st.sampled_from(["", "aim dirt 3", "aim none\nsee cow 3 4 5"]))
        image = draw(st.sampled_from([b"", *PICTURES]))
        turns.append(DemoTurn(seen, text, space, segments=SPACES[space].tokenizer.segments(text), image=image))
    used = tuple(dict.fromkeys(turn.space for turn in turns))
    task, instruction = draw(st.sampled_from([("mine_block:oak_log", "mine oak log"), ("openha:build", "Build!")]))
    category = task.split(":")[0]
    kind = used[0] if len(used) == 1 else "mixed"
    return Demonstration(task, category, 0, used, tuple(turns), True, kind, instruction)


@given(demonstrations(), st.integers(1, 6))
def test_a_demonstration_survives_its_rows(demonstration: Demonstration, most: int) -> None:
    rows = to_rows(demonstration, 3, most)
    assert all(len(one["conversations"]) <= 2 * most for one in rows)
    found = [read(one, listed=demonstration.spaces) for one in rows]
    assert tuple(turn for part in found for turn in part.turns) == demonstration.turns
    assert {(part.task, part.category, part.instruction, part.spaces) for part in found} == {
        (demonstration.task, demonstration.category, demonstration.instruction, demonstration.spaces)
    }


def test_other_spaces_cannot_be_written() -> None:
    control = Demonstration(
        "t", "c", 0, ("control",), (DemoTurn("", "Action: no_op", "control"),), True, "control", "go"
    )
    assert to_rows(control, 0, 5)[0]["conversations"][1] == answer("Action: no_op")
    with pytest.raises(Malformed, match="space 'api'"):
        to_rows(Demonstration("t", "c", 0, ("api",), (DemoTurn("", "Api: x()", "api"),), True, "api", "go"), 0, 5)


def test_import_and_export_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_parquet(data / "train-0.parquet", [RELEASED, row(*GOOD[:1], answer("Motion: fly")), row(*GOOD)])
    write_parquet(data / "train-1.parquet", [row(*GOOD, images=[{"bytes": picture(), "path": None}])], pa.struct({"bytes": pa.binary(), "path": pa.string()}))  # fmt: skip
    out = tmp_path / "demos.parquet"
    assert main(["openha", "import", str(data), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "3 of 4 rows, 5 turns (1 grounding_coa, 1 motion_coa, 3 text_action), 5 pictures" in said.out
    assert "1 rows are malformed and left out" in said.err
    assert "train-0.parquet: row 1: message 1: 'Motion: fly': no motion 'fly'" in said.err
    found = load_demonstrations(out)
    assert [d.task for d in found] == ["mine_block:oak_log", "mine_block:dirt", "mine_block:dirt"]
    again = tmp_path / "again.parquet"
    assert main(["openha", "export", str(out), "--out", str(again)]) == 0
    assert "3 rows, 5 turns of 3 episodes" in capsys.readouterr().out
    report = Report()
    assert [d.turns for d in read_demonstrations([again], report)] == [d.turns for d in found]
    assert (report.kept, report.faults) == (3, [])
    limited = [
        "openha",
        "import",
        str(again),
        "--out",
        str(out),
        "--limit",
        "1",
        "--no-pictures",
        "--spaces",
        "text_action,motion_coa,grounding_coa",
    ]
    assert main(limited) == 0
    (only,) = load_demonstrations(out)
    assert only.spaces == ("text_action", "motion_coa", "grounding_coa")
    assert not any(turn.image for turn in only.turns)


def test_a_fault_ends_the_command_with_one_line_and_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = write_parquet(tmp_path / "bad.parquet", [row(*GOOD), row(*GOOD, images=[])])
    out = tmp_path / "out.parquet"
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    (tmp_path / "cut.parquet").write_bytes(bad.read_bytes()[:-100])
    (tmp_path / "empty").mkdir()
    hopeless = write_parquet(tmp_path / "hopeless.parquet", [row(*GOOD, images=[])])
    cases = {
        "row 1: message 0: picture 1 is named, but image has 0. Fix:": [str(bad), "--strict"],
        "none of 1 rows is a conversation of OpenHA's": [str(hopeless)],
        "its columns are x; expected conversations, image and id": [str(tmp_path / "other.parquet")],
        "text.parquet: not a parquet file": [str(tmp_path / "text.parquet")],
        "cut.parquet: not a parquet file, or cut short": [str(tmp_path / "cut.parquet")],
        "no such file": [str(tmp_path / "none.parquet")],
        "no *.parquet in it": [str(tmp_path / "empty")],
        "--spaces: got 'api'": [str(bad), "--spaces", "api"],
        "--limit: got 0": [str(bad), "--limit", "0"],
    }
    for message, words in cases.items():
        assert main(["openha", "import", *words, "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert message in said, said
        assert "Traceback" not in said
    assert main(["openha", "export", str(bad), "--out", str(out)]) == 2
    assert "a parquet file that crossagent did not write" in capsys.readouterr().err
    api = Demonstration("t", "c", 0, ("api",), (DemoTurn("", "Api: x()", "api"),), True, "api", "go")
    save_demonstrations(tmp_path / "api.parquet", [api])
    assert main(["openha", "export", str(tmp_path / "api.parquet"), "--out", str(out)]) == 2
    assert "nothing to export; the first:" in capsys.readouterr().err
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_a_file_damaged_within_is_said_so(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "bad.parquet", [row(*GOOD)] * 3)
    content = bytearray(path.read_bytes())
    content[40:400] = b"\xff" * 360
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"bad\.parquet"):
        list(read_demonstrations([path], Report(), strict=True))


@pytest.mark.parametrize("name", SPACES)
def test_a_prompt_says_what_the_answers_look_like(name: str) -> None:
    prompt = prompts.system_prompt([name])
    assert SPACES[name].header in prompt
    assert prompt.endswith(f"{prompts.MARK}\n")
    assert "left.control" in prompt or name in ("motion", "grounding")
