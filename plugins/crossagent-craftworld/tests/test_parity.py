"""The parity runner: all goldens agree, and anything that does not is seen."""

import json
from pathlib import Path

import pytest

from crossagent_craftworld.parity.__main__ import main
from crossagent_craftworld.parity.loot import compare, drawn, expected
from crossagent_craftworld.parity.tally import Tally
from crossagent_minecraft_data.loot import block_drops, mob_drops

GOLDEN = Path(__file__).parents[3] / "tests" / "golden" / "minecraft"


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def run(capsys, folder, *options):
    status = main([str(folder), *options])
    out, err = capsys.readouterr()
    return status, out, err


def test_every_golden_agrees(capsys):
    status, out, _ = run(capsys, GOLDEN, "--json")
    report = json.loads(out)
    assert (status, report["ok"]) == (0, True)
    totals = {name: row["total"] for name, row in report["files"].items()}
    assert totals == {
        "coverage.json": 492, "crafting.json": 1103, "digging.json": 15535, "entities.json": 405, "physics.json": 69,
        "raycast.json": 216, "windows.json": 1633,
    }  # fmt: skip
    assert all(row["passed"] == row["total"] for row in report["files"].values())
    assert report["files"]["physics.json"]["largest_error"] < 1e-6


# file, section, how one of its rows is changed
WRONG = {
    "physics": ("physics", "cases", lambda rows: rows[0]["trace"][3].__setitem__(0, rows[0]["trace"][3][0] + 2e-6)),
    "flags": ("physics", "cases", lambda rows: rows[0]["trace"][3].__setitem__(6, rows[0]["trace"][3][6] ^ 2)),
    "rays": ("raycast", "cases", lambda rows: rows[0]["hit"].update(face="bottom")),
    "ticks": ("digging", "blocks", lambda rows: rows["stone"]["t"].__setitem__(0, 151)),
    "harvest": ("digging", "blocks", lambda rows: rows["stone"].update(h="1" + rows["stone"]["h"][1:])),
    "water": ("digging", "blocks", lambda rows: rows["stone"].update(wet_air_both=[38, 38, 189])),
    "recipe": ("crafting", "recipes", lambda rows: rows["diorite"][0].update(count=3)),
    "cell": (
        "crafting",
        "recipes",
        lambda rows: rows["diorite"][0]["pattern"].reverse() or rows["diorite"][0]["keys"][0].append("dirt"),
    ),
    "grid": ("crafting", "grid_cases", lambda rows: rows[0].update(out=["stick", 4])),
    "smelting": ("crafting", "smelting", lambda rows: rows[0].update(xp=0.3)),
    "blasting": ("crafting", "blasting", lambda rows: rows[0].update(out="coal")),
    "smithing": ("crafting", "smithing", lambda rows: rows[0].update(out="netherite_axe")),
    "cutting": ("crafting", "stonecutting_1152", lambda rows: rows[0].__setitem__(2, 3)),
    "fuel": ("crafting", "fuel", lambda rows: rows.update(coal=1601)),
    "slot": ("windows", "windows", lambda rows: rows["chest"]["scale1"]["slots"]["3"].__setitem__(0, 1)),
    "hud": ("windows", "hud", lambda rows: rows["scale1"].update(crosshair=[312, 172, 15, 16])),
    "pixel": ("windows", "hit_tests", lambda rows: rows[0].__setitem__(4, 7)),
    "click": ("windows", "click_cases", lambda rows: rows[0]["after"].update({"2": ["ender_pearl", 9]})),
    "mob": ("entities", "mobs", lambda rows: rows["cow"].update(health=11)),
    "blows": ("entities", "mobs", lambda rows: rows["cow"]["full_charge_hits"].update(hand=9)),
    "weapon": ("entities", "weapons", lambda rows: rows["hand"].update(attack_speed=3.9)),
    "cooldown": ("entities", "cooldown_vectors", lambda rows: rows[0].__setitem__(3, 0.21)),
    "task": ("coverage", "tasks", lambda rows: rows["craft_item:oak_planks"].update(ok=True)),
    "hits": ("coverage", "tasks", lambda rows: rows["kill_entity:bat"]["hits"].update(hand=5)),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_wrong_value_fails(name, tmp_path, capsys):
    file, section, change = WRONG[name]
    whole = golden(file)
    document = {"header": whole["header"], section: whole[section]}
    if file == "raycast":
        document |= {"worlds": whole["worlds"]}
    if section == "cases":
        document["cases"] = whole["cases"][:8]
    change(document[section])
    # the file's name says nothing: sections are known by what they hold
    (tmp_path / "anything.json").write_text(json.dumps(document))
    status, out, _ = run(capsys, tmp_path, "--json")
    (row,) = json.loads(out)["files"]["anything.json"]["sections"]
    assert (status, row["total"] - row["passed"], len(row["failures"])) == (1, 1, 1)
    status, out, _ = run(capsys, tmp_path)
    assert status == 1
    assert "FAILED" in out
    assert "NOT all agree" in out


def test_a_case_that_is_not_vanilla_is_listed_and_not_compared(tmp_path, capsys):
    case = golden("physics")["cases"][0] | {"compare": False, "vanilla": "differs: a test says so"}
    case["trace"][0][0] = 99.0
    (tmp_path / "a.json").write_text(json.dumps({"header": {}, "cases": [case]}))
    status, out, _ = run(capsys, tmp_path)
    assert status == 0
    assert "1 not compared" in out
    assert "a test says so" in out


def test_what_is_not_understood_is_said_and_is_no_success(tmp_path, capsys):
    (tmp_path / "a.json").write_text(json.dumps({"header": {}, "fuel": {"coal": 1600}, "brewing": [{"in": "water"}]}))
    status, out, _ = run(capsys, tmp_path)
    assert status == 1
    assert "brewing: not understood" in out
    assert "fuel: 1 / 1" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "a.json: not readable as JSON"),
        ("[1, 2]", "a.json: expected a JSON object"),
        ('{"fuel": {"coal": "much"}}', "section 'fuel' has a row that does not follow the format"),
        ('{"cases": [{"trace": []}]}', "section 'cases'"),
        ('{"tasks": {"x": {"c": "fly", "goal": "x", "ok": true}}}', "unknown category 'fly'"),
    ],
)
def test_unreadable_input_is_one_message(text, words, tmp_path, capsys):
    (tmp_path / "a.json").write_text(text)
    status, out, err = run(capsys, tmp_path)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_no_folder_and_an_empty_folder(tmp_path, capsys):
    for folder in (tmp_path / "nowhere", tmp_path):
        status, _, err = run(capsys, folder)
        assert status == 2
        assert str(folder) in err


# Tables in the golden form, written for this test from the rates that vanilla publishes.
TABLES = {
    "gravel": [{"entries": [{"type": "alternatives", "children": [
        {"item": "gravel", "if": ["silk_touch"]}, {"item": "flint", "if": ["p=0.1000(fortune0)"]}, {"item": "gravel"}]}]}],
    "wheat": [
        {"entries": [{"type": "alternatives", "children": [
            {"item": "wheat", "if": ["state{age=7}"]}, {"item": "wheat_seeds"}]}]},
        {"entries": [{"item": "wheat_seeds", "binomial": [3, 0.571429]}], "if": ["state{age=7}"]}],
    "melon": [{"entries": [{"item": "melon_slice", "count": [3.0, 7.0], "limit": {"max": 9}}]}],
    "vine": [{"entries": [{"item": "vine"}], "if": ["tool=shears"]}],
    "lapis_ore": [{"entries": [{"item": "lapis_lazuli", "count": [4, 9]}]}],
    "redstone_ore": [{"entries": [{"item": "redstone", "count": [4, 5]}]}],
    "snow_block": [{"entries": [{"item": "snowball", "count": [4, 4]}]}],
}  # fmt: skip


def test_loot_is_compared_as_a_distribution(tmp_path, capsys):
    (tmp_path / "a.json").write_text(json.dumps({"header": {}, "blocks": TABLES}))
    status, out, _ = run(capsys, tmp_path)
    assert status == 0, out
    wrong = TABLES | {"melon": [{"entries": [{"item": "melon_slice", "count": [3, 8]}]}]}
    (tmp_path / "a.json").write_text(json.dumps({"header": {}, "blocks": wrong}))
    status, out, _ = run(capsys, tmp_path)
    assert status == 1
    assert "FAILED melon with the hand" in out


def test_the_exact_distribution_of_a_table():
    assert expected(TABLES["vine"]) == {}
    assert expected(TABLES["vine"], "shears") == {"vine": {0: 0.0, 1: 1.0}}
    gravel = expected(TABLES["gravel"])
    assert gravel["flint"][1] == pytest.approx(0.1)
    assert gravel["gravel"][1] == pytest.approx(0.9)
    seeds = expected(TABLES["wheat"])["wheat_seeds"]
    assert sum(n * p for n, p in seeds.items()) == pytest.approx(12 / 7, abs=1e-5)


def test_loot_of_a_mob_and_what_it_leaves_besides():
    sheep = drawn(lambda rng: mob_drops("sheep", rng), 2000)
    assert sheep["white_wool"] == {0: 0.0, 1: 1.0}
    assert sheep["mutton"][2] == pytest.approx(0.5, abs=0.05)
    tally = Tally("test")
    compare(tally, "stone", lambda rng: block_drops("stone", None, rng), {})
    compare(tally, "stone", lambda rng: block_drops("stone", "iron_pickaxe", rng), {})
    assert (tally.passed, tally.total) == (1, 2)
