import math
import shutil

import pytest
from made_up import step_one, trajectory, turn

from crossagent.errors import CrossAgentError, DataError
from crossagent.rollout.credit import credit_file
from crossagent.rollout.store import save_trajectories, step_file
from crossagent.tracking.viewer.catalogue import Catalogue
from crossagent.tracking.viewer.page import write_page


def test_sources_are_in_the_order_the_run_made_them(made_up, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(made_up, run)
    save_trajectories(step_file(run / "mtrl/trajectories", 12), step_one())
    save_trajectories(run / "untrained/trajectories/evaluation-id-mixed.parquet", step_one())
    save_trajectories(run / "mtrl/trajectories/evaluation-id-api.parquet", step_one())
    (run / "mtrl/trajectories/notes.parquet").write_text("not ours to read")
    names = [source.name for source in Catalogue(run).sources()]
    assert names == ["untrained/id-mixed", "sft/id-mixed", "sft/ood-mixed", "mtrl/1", "mtrl/12", "mtrl/id-api"]


def test_a_trajectory_is_found_by_its_name_with_what_training_made_of_it(made_up):
    catalogue = Catalogue(made_up)
    one = catalogue.find("mtrl/1/0.1")
    assert one.name == "mtrl/1/0.1"
    assert one.trajectory.success
    assert [c.advantage for c in one.credit] == [0.75, 0.75]
    lost = catalogue.find("mtrl/1/1.0")
    assert math.isnan(lost.credit[0].advantage)
    assert catalogue.find("sft/id-mixed/3.0").credit == ()
    assert catalogue.weights == {"api": 0.1, "gui": 0.05, "control": 0.02}
    assert catalogue.title == "made-up"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mtrl/1/0.7", r"unknown trajectory 'mtrl/1/0.7': mtrl/1 has no '0.7'. Did you mean '0.[012]'"),
        ("mtrl/2/0.1", r"nothing in .* is called 'mtrl/2'; names look like sft/id-mixed/0.0. Did you mean 'mtrl/1'"),
        ("sft/id-mixt/0.0", "Did you mean 'sft/id-mixed'"),
        ("zebra", "Known: mtrl/1, sft/id-mixed, sft/ood-mixed"),
        ("../../etc/passwd", "nothing in .* is called"),
    ],
)
def test_an_unknown_name_says_what_there_is(made_up, name, message):
    with pytest.raises(CrossAgentError, match=message):
        Catalogue(made_up).find(name)


def test_what_is_no_run_is_refused_and_the_run_beside_it_named(made_up, tmp_path):
    with pytest.raises(DataError, match=r"not a run of crossagent .*Did you mean 'made-up'"):
        Catalogue(made_up.parent / "made-upp")
    with pytest.raises(DataError, match="Train one: crossagent run"):
        Catalogue(tmp_path / "nothing" / "here")
    (tmp_path / "recipe.yaml").write_text("a: [")
    with pytest.raises(DataError, match=r"recipe.yaml: unreadable"):
        _ = Catalogue(tmp_path).recipe
    (tmp_path / "recipe.yaml").write_text("stages: [sft]\n")
    with pytest.raises(CrossAgentError, match="holds no trajectories yet"):
        Catalogue(tmp_path).find("sft/1/0.0")


def test_a_sample_holds_whole_groups_from_everywhere(tmp_path):
    (tmp_path / "recipe.yaml").write_text("stages: [mtrl]\n")
    for step in range(1, 11):
        played = [trajectory("t", g, m, [turn(0)], False) for g in range(4) for m in range(4)]
        save_trajectories(step_file(tmp_path / "mtrl/trajectories", step), played)
    catalogue = Catalogue(tmp_path)
    for most in (16, 40, 159, 160, 1000):
        shown, total = catalogue.sample(most)
        assert total == 160
        assert most - 4 < len(shown) <= most or len(shown) == 160
        groups = {}
        for one in shown:
            groups.setdefault(one.group_name, set()).add(one.trajectory.member)
        assert set(map(len, groups.values())) == {4}, "members are only looked at side by side"
        steps = [one.source.step for one in shown]
        assert steps == sorted(steps)
        assert steps[0] == 1
        assert len(set(steps)) >= min(10, most // 4), "spread over the run"
    shown, _ = catalogue.sample(1)
    assert len(shown) == 4, "one group, whole, is the least"


def test_a_sample_of_groups_large_and_small_is_never_more_than_asked_for(tmp_path):
    (tmp_path / "recipe.yaml").write_text("stages: [mtrl]\n")
    large = [trajectory("t", g, m, [turn(0)], False) for g in range(5) for m in range(30)]
    save_trajectories(step_file(tmp_path / "mtrl/trajectories", 1), large)
    small = [trajectory("t", g, 0, [turn(0)], False) for g in range(100)]
    save_trajectories(tmp_path / "mtrl/trajectories/evaluation-id-mixed.parquet", small)
    for most in (31, 60, 100, 249):
        shown, total = Catalogue(tmp_path).sample(most)
        assert total == 250
        assert most / 3 < len(shown) <= most


def test_credit_of_another_attempt_is_not_shown(tmp_path):
    """A run was killed after it had played a step again, before its credit was written again."""
    import made_up

    (tmp_path / "recipe.yaml").write_text("stages: [mtrl]\n")
    directory = tmp_path / "mtrl/trajectories"
    old = step_one()
    made_up.save_credits(credit_file(directory, 1), old, [made_up.credit(t, 0.5) for t in old])
    new = [trajectory("mine:oak", 0, 0, [turn(0)], False), trajectory("mine:oak", 0, 1, old[1].turns, True)]
    save_trajectories(step_file(directory, 1), new)
    one, other = Catalogue(tmp_path).load(Catalogue(tmp_path).sources()[0])
    assert one.credit == ()
    assert len(other.credit) == 2


def test_the_newest_files_come_first(made_up, tmp_path):
    import os

    run = tmp_path / "run"
    shutil.copytree(made_up, run)
    for age, name in enumerate(["sft/id-mixed", "mtrl/1", "sft/ood-mixed"]):
        path = next(s.path for s in Catalogue(run).sources() if s.name == name)
        os.utime(path, (1e9 - age, 1e9 - age))
    assert [s.name for s in Catalogue(run).newest(2)] == ["sft/id-mixed", "mtrl/1"]


def test_a_page_of_large_images_holds_fewer_trajectories(made_up, tmp_path, monkeypatch):
    catalogue = Catalogue(made_up)
    total = sum(len(catalogue.load(source)) for source in catalogue.sources())
    images = sum(
        len(turn.image) for s in catalogue.sources() for one in catalogue.load(s) for turn in one.trajectory.turns
    )
    assert images
    assert catalogue.holding(10 * images) == total
    assert 1 <= catalogue.holding(images // 10) < total / 2
    assert catalogue.holding(0) == 1
    monkeypatch.setattr("crossagent.tracking.viewer.page.IMAGE_BYTES", images // 10)
    shown, there = write_page(made_up, tmp_path / "few.html")
    assert (shown < there, there) == (True, total)
    assert write_page(made_up, tmp_path / "all.html", total) == (total, total), "who says a number gets it"
