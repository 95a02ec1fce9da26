"""Files, inheritance and overrides: what composes, and what every fault says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from crossagent.errors import RecipeError
from crossagent.recipe.checks import validate
from crossagent.recipe.compose import canonical_sha256, compose, differing_keys, plain
from crossagent.recipe.schema import load_recipe
from crossagent.registry.plugin_set import load_plugins
from crossagent.testing import toy_environment


@dataclass
class Adapter:
    rank: int = 8
    targets: list[str] = field(default_factory=lambda: ["q", "v"])


@dataclass
class Part:
    weight: float = 0.5
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight: got {self.weight}; expected ≥ 0")


@dataclass
class Schema:
    seed: int = 0
    name: str = "x"
    fast: bool = False
    mode: Literal["slow", "quick"] = "slow"
    betas: tuple[float, float] = (0.9, 0.95)
    stages: list[str] = field(default_factory=lambda: ["one", "two"])
    parts: dict[str, Part] = field(default_factory=dict)
    spare: dict[str, Part] = field(default_factory=lambda: {"p": Part(), "q": Part(0.7)})
    adapter: Adapter | None = None
    needed: str = "???"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed: got {self.seed}; expected ≥ 0")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write(tmp_path / "r.yaml", "needed: y\nparts: {a: {weight: 1e-3}, b: {}}\n")


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        compose(Schema, path, overrides)
    return str(caught.value)


def test_defaults_files_and_overrides_compose_in_that_order(tmp_path: Path) -> None:
    write(
        tmp_path / "base.yaml",
        "needed: base\nseed: 1\nstages: [a, b, c]\nparts: {a: {weight: 2, options: {k: 4}}, b: {}}\n",
    )
    top = write(tmp_path / "top.yaml", "defaults: [base.yaml]\nseed: 2\nparts: {b: null, c: {weight: 3}}\n")
    result = compose(Schema, top, ["name=z", "stages.1=q", "parts.a.weight=2e-3", "adapter.rank=4", "betas.0=0.8"])
    assert result == Schema(
        seed=2,
        name="z",
        stages=["a", "q", "c"],
        parts={"a": Part(0.002, {"k": 4}), "c": Part(3.0)},
        adapter=Adapter(4),
        needed="base",
        betas=(0.8, 0.95),
    )


def test_an_override_to_null_removes_an_entry_of_free_keys(recipe: Path) -> None:
    assert list(compose(Schema, recipe, ["parts.a=null"]).parts) == ["b"]
    assert message(recipe, "parts.a.weight=null") == "command line: parts.a.weight: got null; expected a number"


def test_null_removes_what_only_the_defaults_set_and_the_rest_stays(recipe: Path, tmp_path: Path) -> None:
    assert {name: part.weight for name, part in compose(Schema, recipe).spare.items()} == {"p": 0.5, "q": 0.7}
    assert list(compose(Schema, recipe, ["spare.p=null"]).spare) == ["q"]
    file = write(tmp_path / "one.yaml", "needed: y\nspare: {p: null, q: {options: {a: 1}}}\n")
    assert compose(Schema, file).spare == {"q": Part(0.7, {"a": 1})}


def test_overlays_are_laid_over_the_file_in_order(recipe: Path, tmp_path: Path) -> None:
    one = write(tmp_path / "one.yaml", "seed: 1\nname: one\n")
    two = write(tmp_path / "two.yaml", "seed: 2\n")
    found = compose(Schema, recipe, ["fast=true"], [one, two])
    assert (found.seed, found.name, found.fast, found.needed) == (2, "one", True, "y")


def test_an_override_reaches_into_a_list_that_only_the_defaults_set(recipe: Path) -> None:
    assert compose(Schema, recipe, ["stages.0=zero"]).stages == ["zero", "two"]


def test_every_unknown_key_is_named_with_its_source_and_the_nearest_key(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "sede: 1\nneeded: y\n")
    top = write(tmp_path / "top.yaml", "defaults: [base.yaml]\nparts: {a: {wieght: 1}}\nadapter: {rnak: 3}\n")
    lines = message(top, "mdoe=quick").splitlines()
    assert [line.removeprefix(str(tmp_path) + "/") for line in lines] == [
        "base.yaml: unknown key 'sede'. Did you mean 'seed'?",
        "top.yaml: unknown key 'parts.a.wieght'. Did you mean 'weight'?",
        "top.yaml: unknown key 'adapter.rnak'. Did you mean 'rank'?",
        "command line: unknown key 'mdoe'. Did you mean 'mode'?",
    ]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed=two", "seed: got 'two' (str); expected an integer"),
        ("seed=true", "seed: got True (bool); expected an integer"),
        ("seed=1.5", "seed: got 1.5 (float); expected an integer"),
        ("seed=null", "seed: got null; expected an integer"),
        ("fast=1", "fast: got 1 (int); expected true or false"),
        ("mode=quikc", "mode: got 'quikc'; expected one of 'slow', 'quick'. Did you mean 'quick'?"),
        ("betas=[1,2,3]", "betas: got 3 values; expected 2"),
        ("stages=one", "stages: got 'one' (str); expected a list"),
        ("stages=[{a: 1}]", "stages.0: got a mapping; expected text"),
        ("stages.7=x", "stages.7: the list has 2 entries; expected an index in 0…1"),
        ("stages.one=x", "stages.one: got 'one'; expected the index of a list, e.g. stages.0"),
        ("parts=3", "parts: got 3 (int); expected a mapping"),
        ("adapter=3", "adapter: got 3 (int); expected a mapping with keys of: rank, targets"),
        ("seed.x=3", "seed: is 0, so 'seed.x' cannot be set inside it"),
        ("seed", "got 'seed'; expected KEY=VALUE"),
        ("=3", "got '=3'; expected KEY=VALUE"),
        ("name=[a", "name: malformed value '[a'"),
    ],
)
def test_a_wrong_override_says_what_was_expected(recipe: Path, override: str, says: str) -> None:
    found = message(recipe, override)
    assert found.startswith("command line: ")
    assert says in found


def test_wrong_types_of_a_file_are_all_reported_with_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "needed: y\nseed: two\nfast: maybe\n")
    assert message(path).splitlines() == [
        f"{path}: seed: got 'two' (str); expected an integer",
        f"{path}: fast: got 'maybe' (str); expected true or false",
    ]


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "seed: 1\n")
    assert message(path) == f"{path}: not set: needed. Set it in the file or as KEY=VALUE."


def test_a_component_that_refuses_its_values_names_the_file(recipe: Path) -> None:
    assert message(recipe, "seed=-1") == f"{recipe}: seed: got -1; expected ≥ 0"


def test_what_sections_refuse_is_reported_together_with_their_keys(recipe: Path) -> None:
    assert message(recipe, "parts.a.weight=-1", "parts.b.weight=-2").splitlines() == [
        f"{recipe}: parts.a.weight: got -1.0; expected ≥ 0",
        f"{recipe}: parts.b.weight: got -2.0; expected ≥ 0",
    ]


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path, recipe: Path) -> None:
    found = message(tmp_path / "rr.yaml")
    assert "no such recipe" in found
    assert "Did you mean" in found
    assert "r.yaml" in found


def test_a_missing_parent_names_the_file_that_asks_for_it(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "defaults: [gone.yaml]\n")
    found = message(path)
    assert "gone.yaml" in found
    assert "in the `defaults:` of r.yaml" in found


def test_malformed_yaml_is_located(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "seed: 1\nstages: [a, b\nname: y\n")
    assert message(path).startswith(f"{path}:3:")
    assert "malformed YAML" in message(path)


@pytest.mark.parametrize("content", ["- a\n- b\n", "just text\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "r.yaml", content)
    assert str(path) in message(path)


def test_a_circle_of_defaults_is_shown(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "defaults: [b.yaml]\n")
    write(tmp_path / "b.yaml", "defaults: [c.yaml]\n")
    write(tmp_path / "c.yaml", "defaults: [b.yaml]\n")
    assert "b.yaml → c.yaml → b.yaml" in message(tmp_path / "a.yaml")


def test_interpolation_is_resolved_and_then_type_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "needed: y\nname: run-${seed}\nseed: 3\n")
    assert compose(Schema, path).name == "run-3"
    assert "seed" in message(write(tmp_path / "s.yaml", "needed: word\nseed: ${needed}\n"))


def test_sha256_depends_on_values_not_on_the_order_of_keys() -> None:
    assert canonical_sha256({"a": 1, "b": 0.1}) == canonical_sha256({"b": 0.1, "a": 1})
    assert canonical_sha256({"a": 1}) != canonical_sha256({"a": 2})


def test_differing_keys_are_dotted_and_show_both_values() -> None:
    assert differing_keys({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "e": 0}) == [
        "a.c: 2 → 3",
        "d: [1] → not set",
        "e: not set → 0",
    ]


def test_plain_gives_back_what_was_composed(recipe: Path) -> None:
    content = plain(compose(Schema, recipe))
    assert content["parts"] == {"a": {"weight": 0.001, "options": {}}, "b": {"weight": 0.5, "options": {}}}
    assert content["betas"] == [0.9, 0.95]


def test_a_recipe_prices_a_space(tmp_path: Path) -> None:
    path = tmp_path / "priced.yaml"
    path.write_text("environment: {name: toy}\nspaces: {api: {weight: 0.1, cost: {plugin: 0, per_tick: 0.05}}}\n")
    cost = load_recipe(path, ["spaces.api.cost.per_token=0.01"]).spaces["api"].cost
    assert (cost.plugin, cost.per_turn, cost.per_tick, cost.per_token) == (0.0, 0.0, 0.05, 0.01)
    with pytest.raises(RecipeError, match=r"cost\.per_turn: got -1.*expected a number ≥ 0"):
        load_recipe(path, ["spaces.api.cost.per_turn=-1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sft.segment_weights={action: 0.5}", r"sft\.segment_weights: unknown part 'action'. No space of this recipe"),
        ("mtrl.explore_members=2", r"mtrl\.explore_members: got 2; a single space leaves no choice"),
    ],
)
def test_options_that_fit_no_space_of_the_recipe_are_refused(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("environment: {name: toy}\nspaces: {api: {}}\n")
    with pytest.raises(RecipeError, match=message):
        validate(load_recipe(path, [change]), load_plugins().with_(environment=toy_environment()))
