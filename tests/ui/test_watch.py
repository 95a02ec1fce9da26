"""The live page in Chromium, while a run grows: nothing yet, the first metric, episodes, the end, the server gone."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_up import RECIPE, evaluation

from crossagent.rollout.store import save_trajectories
from crossagent.tracking.viewer.watch import serve

Open = Callable[..., "Page"]  # noqa: F821
CELL = {"success": 0.5, "ci95": [0.2, 0.8], "return": 0.4, "episodes": 6}


def within_two_looks(page, selector: str, text: str) -> None:
    page.locator(selector, has_text=re.compile(text)).first.wait_for(timeout=6000)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Path, str, Callable[[], None]]]:
    """A run that has only begun, the address of its page, and a way to end the server."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text(RECIPE)
    server = serve(run, 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    yield run, f"http://127.0.0.1:{server.server_address[1]}/", stop
    stop()


def test_a_run_from_its_first_moment_to_its_end(open_page: Open, live) -> None:
    run, address, stop = live
    page = open_page(address)
    assert "Before the first stage." in page.inner_text("#status")
    assert "No metrics yet" in page.inner_text("#curves")
    assert "No episodes yet" in page.inner_text("#episodes")
    assert "No evaluation yet" in page.inner_text("#evaluation")
    (run / "sft").mkdir()
    with (run / "sft/metrics.jsonl").open("w") as file:
        file.write('{"step": 1, "train/loss": 2.5}\n{"step": 2, "train/lo')  # torn: it is being written
    within_two_looks(page, "#curves figcaption", "train/loss")
    assert (
        page.get_attribute("#curves svg", "aria-label") == "train/loss, steps 1 to 1: last 2.5; lowest 2.5, highest 2.5"
    )
    rows = [{"step": k, "train/loss": 3 / k, "space/api/share": 0.7, "space/gui/share": 0.3} for k in range(1, 6)]
    (run / "sft/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    within_two_looks(page, "#stages li", "sft: ▶ in progress, step 5")
    within_two_looks(page, "figcaption", "space: share")
    assert page.locator("figure", has_text="space: share").locator("path.line").count() == 4, "two lines and their keys"
    save_trajectories(run / "sft/trajectories/evaluation-id-mixed.parquet", evaluation())
    within_two_looks(page, "#episodes", "sft/id-mixed/0.0")
    assert "5 trajectories" in page.inner_text("#episodes-note")
    assert "<script>alert(1)</script>" in page.inner_text("#episodes")
    done = {
        "untrained/train": {},
        "untrained/eval": {"cells": {}},
        "sft/train": {},
        "sft/eval": {"cells": {"id": {"mixed": CELL}}},
    }
    (run / "state.json").write_text(json.dumps({"steps": done}))
    within_two_looks(page, "#status", "Between stages.")
    (run / "state.json").write_text(json.dumps({"steps": {**done, "summary": {}}}))
    within_two_looks(page, "#status", "The run is complete.")
    assert page.inner_text("#evaluation tbody tr").split("\t") == ["sft", "id", "mixed", "50 %", "20–80", "0.400", "6"]
    assert re.fullmatch(r"last file written \d s ago", page.inner_text("#age"))
    page.click("#episodes a >> nth=1")
    page.wait_for_selector("html[data-ready] #head code")
    within_two_looks(page, "#head code", "sft/id-mixed/1.0")
    page.go_back()
    open_page.expected.append("ERR_CONNECTION_REFUSED")
    within_two_looks(page, "#status", "complete")
    stop()
    within_two_looks(page, "#problem", "No answer from crossagent watch")


@pytest.mark.slow
def test_a_real_run(open_page: Open, toy_run: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_run, tmp_path / "run")
    server = serve(tmp_path / "run", 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        page = open_page(f"http://127.0.0.1:{server.server_address[1]}/")
        assert "complete" in page.inner_text("#status")
        assert page.locator("#curves figure").count() == 12
        page.check("#all")
        assert page.locator("#curves figure").count() > 12
        page.select_option("#stage", "sft")
        assert "loss" in page.inner_text("#curves")
        assert page.locator("#evaluation tbody tr").count() == 18
        assert page.locator("#episodes tbody tr").count() == 3
    finally:
        server.shutdown()
        server.server_close()
