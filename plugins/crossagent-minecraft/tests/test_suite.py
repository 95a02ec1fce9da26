"""Tasks, block states and what is said when something is missing: no Node needed."""

import numpy as np
import pytest

from crossagent_craftworld import palette
from crossagent_craftworld.suite import suite as craftworld_suite
from crossagent_craftworld.terrain import scene
from crossagent_minecraft import install, node, states
from crossagent_minecraft.env import Minecraft
from crossagent_minecraft.suite import suite
from crossagent_minecraft_data.blocks import block_rows


def test_tasks_are_craftworlds_under_their_names_and_splits():
    ours, theirs = suite().tasks(), craftworld_suite().tasks()
    assert [t.name for t in ours] == [t.name for t in theirs]
    assert all(t.env == "minecraft" for t in ours)
    assert all(t.reason for t in ours if not t.solvable)
    for a, b in zip(ours, theirs, strict=True):
        if a.solvable:
            assert (a.setup, a.splits, a.instruction) == (b.setup, b.splits, b.instruction)
    assert sum(t.category == "craft_item" and t.solvable for t in ours) > 500
    assert sum(t.category == "mine_block" and t.solvable for t in ours) > 100


def test_state_numbers_and_texts_are_inverse():
    for name, row in block_rows().items():
        for state in range(row["minStateId"], row["maxStateId"] + 1):
            text = states.text(state)
            assert text == "air" if name.endswith("air") else states.number(text) == state
        assert name.endswith("air") or states.text(row["defaultState"]) == name


def test_a_landscape_survives_the_protocol():
    blocks = np.frombuffer(scene(0, 48).blocks, dtype=np.uint16)
    again = states.from_protocol(states.to_protocol(blocks))
    names = np.array(palette.STATES)
    assert (names[blocks] == names[again]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "remote"}, "mode: got 'remote'; expected 'embedded' or 'connect'"),
        ({"width": 50}, "width: got 50"),
        ({"port": 0}, "port: got 0"),
        ({"spare": 99}, "spare: got 99"),
    ],
)
def test_a_wrong_option_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        Minecraft(**options)


def test_without_node_one_line_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nonexistent")
    node.node.cache_clear()
    try:
        assert install.command(["install"]) == 2
        assert capsys.readouterr().err.strip() == (
            "minecraft needs Node 20 or newer, and there is no `node` on the PATH; install it"
        )
        assert "Node 20" in node.missing()
    finally:
        monkeypatch.undo()
        node.node.cache_clear()


def test_without_the_packages_one_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(node, "node", lambda: "node")
    monkeypatch.setenv("CROSSAGENT_MINECRAFT_HOME", str(tmp_path))
    assert node.missing().endswith("run: crossagent minecraft install")
