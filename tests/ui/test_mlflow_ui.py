"""MLflow's own pages in Chromium, of a real run: its runs, curves, artifacts and a trace. And our report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from mlflow_server import Server

SHOTS = os.environ.get("CROSSAGENT_SCREENSHOTS")
"""A directory: then the pages are kept as images there."""
RECIPE = """
environment: {name: toy}
spaces: {api: {weight: 0.02}, gui: {weight: 0.02}, control: {weight: 0.02}}
stages: [sft, mtrl]
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
rollout: {workers: 0, worlds_per_worker: 8}
demonstrations: {episodes: 120}
sft: {epochs: 12, batch_size: 32, lr: 4e-3}
mtrl: {iterations: 3, groups: 4, group_size: 3, filter_zero_variance: false, drop_all_fail: false}
evaluation: {episodes: 6, experts: false}
tracking: {system_metrics_s: 1}
"""


@pytest.fixture(scope="module")
def run(browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run, tracked in its own SQLite file."""
    from rich.console import Console

    from crossagent.pipeline import recipe_run as pipeline
    from crossagent.recipe.checks import validate
    from crossagent.recipe.schema import load_recipe
    from crossagent.registry.plugin_set import load_plugins
    from crossagent.testing import toy_environment

    directory = tmp_path_factory.mktemp("tracked")
    (directory / "tracked.yaml").write_text(RECIPE)
    recipe = load_recipe(directory / "tracked.yaml", [f"runs_dir={directory / 'runs'}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        pipeline.run(
            validate(recipe, load_plugins().with_(environment=toy_environment())), Console(quiet=True), "quiet"
        )
    return recipe.run_directory


@pytest.fixture(scope="module")
def ui(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of MLflow's pages about the run."""
    server = Server(tmp_path_factory.mktemp("server"), run / "mlflow.db")
    server.start()
    yield server.uri
    server.kill()


@pytest.mark.slow
def test_mlflow_shows_the_run_its_curves_artifacts_and_a_trace(browser, ui: str, run: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.tracing.client import TracingClient

    uri = f"sqlite:///{run / 'mlflow.db'}"
    ids = {r.info.run_name: r.info.run_id for r in MlflowClient(uri).search_runs(["1"])}
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(60_000)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))

    def look(place: str, name: str, *texts: str) -> None:
        page.goto(f"{ui}/#/experiments/1/{place}")
        for text in texts:
            page.get_by_text(text, exact=True).first.wait_for()
        if SHOTS:
            for button in page.get_by_text("Got it", exact=True).all():  # a first visitor is shown around
                button.dispatch_event("click")  # it may lie below the trace
            page.wait_for_timeout(1500)
            page.screenshot(path=f"{SHOTS}/{name}.png")

    look("runs", "mlflow-runs", "tracked")
    look(f"runs/{ids['tracked']}", "mlflow-run", "eval/id/mixed/success", "recipe_sha256", "spaces.api.weight")
    look(f"runs/{ids['tracked/mtrl']}/model-metrics", "mlflow-metrics", "space/api", "all_fail")
    look(f"runs/{ids['tracked']}/system-metrics", "mlflow-system", "cpu_utilization_percentage")
    look(
        f"runs/{ids['tracked']}/artifacts", "mlflow-artifacts", "model", "report.html", "recipe.yaml", "evaluation.json"
    )
    traces = TracingClient(uri).search_traces(locations=["1"], run_id=ids["tracked/mtrl"])
    won = sorted(traces, key=lambda t: (not any(a.value is True for a in t.info.assessments), -len(t.data.spans)))[0]
    look(f"traces?selectedEvaluationId={won.info.trace_id}", "mlflow-trace", "turn 1", "generate", "execute")
    assert [error for error in broken if "ResizeObserver" not in error] == []
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_readable_in_light_and_dark_and_its_tables_open_by_key(browser, run: Path, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 1250, "height": 1000}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else said.append(r.url))
    page.goto((run / "report.html").as_uri())
    assert page.locator("figure svg[role=img]").count() >= 8
    table = page.locator("details table").first
    assert not table.is_visible()
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert table.is_visible()
    ground, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    dark, light = [sum(map(int, rgb[4:-1].split(", "))) for rgb in (ground, ink)]
    assert (dark < 150) == (light > 600) == (scheme == "dark"), "the browser's choice is followed"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing makes the page scroll sideways"
    assert said == []
    page.close()
