"""Which contract versions fit which, and what is said of those that do not."""

from __future__ import annotations

import pytest

from crossagent.plugin_version import CHANGES, CONTRACT, FIRST, contract_problem

TABLE = {
    "1.0": "the first",
    "1.1": "an optional hook was added",
    "2.0": "cost() gets the observation; add the argument",
    "2.10": "another optional hook",
}


@pytest.mark.parametrize(
    ("theirs", "ours", "fits"),
    [
        ("1.0", "1.0", True), ("1.0", "1.7", True), ("1.7", "1.7", True), ("2.9", "2.10", True),
        ("1.1", "1.0", False), ("2.10", "2.9", False), ("1.0", "2.0", False), ("2.0", "1.9", False), ("0.9", "1.0", False),
    ],
)  # fmt: skip
def test_major_must_match_and_minor_must_not_be_above_ours(theirs: str, ours: str, fits: bool) -> None:
    assert (contract_problem(theirs, ours, TABLE) == "") is fits


def test_what_changed_between_the_two_is_listed_in_order() -> None:
    said = contract_problem("1.0", "2.10", TABLE)
    assert "it is written for contract 1.0, this crossagent has contract 2.10" in said
    assert (
        "Changed since: 1.1: an optional hook was added; 2.0: cost() gets the observation; add the argument; "
        "2.10: another optional hook."
    ) in said
    assert "the first" not in said
    assert "set CROSSAGENT_CONTRACT = '2.10'" in said


def test_an_older_crossagent_says_to_upgrade_itself() -> None:
    assert "Fix: upgrade crossagent" in contract_problem("2.0", "1.0", TABLE)


@pytest.mark.parametrize("stated", [1, 1.0, None, "", "1", "1.0.0", "one.two", "1.0 ", "-1.0", ["1.0"]])
def test_what_is_no_version_is_refused(stated: object) -> None:
    assert f"CROSSAGENT_CONTRACT is {stated!r}; expected 'MAJOR.MINOR'" in contract_problem(stated)


def test_our_own_version_is_on_record_and_the_first_one_fits() -> None:
    assert CONTRACT in CHANGES
    assert contract_problem(FIRST) == ""
