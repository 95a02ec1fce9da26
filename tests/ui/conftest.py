"""Chromium through Playwright, and runs to look at: one real, of the toy world, and one made up through the store."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from made_up import made_up_run

from crossagent.tracking.viewer.page import write_page

try:
    from playwright.sync_api import Browser, Error, Page, sync_playwright
except ImportError:  # collected all the same; the fixture says why nothing runs
    Browser = Error = Page = Any  # type: ignore[assignment,misc]
    sync_playwright = None  # type: ignore[assignment]

HINT = "pip install 'crossagent[ui]', and apt-get install chromium or playwright install chromium"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if sync_playwright is None:
        pytest.skip(f"no Playwright: {HINT}")
    own = os.environ.get("CROSSAGENT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        try:
            # The sandbox needs a user namespace, which containers seldom have.
            browser = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no Chromium ({str(error).splitlines()[0]}): {HINT}")
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address in a fresh page; at the end there must have been no error, nothing on the console, no request."""
    said: list[str] = []
    contexts = []

    def open_(address: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda r: (
                None if r.url.startswith((address.partition("#")[0].rstrip("/"), "data:")) else said.append(r.url)
            ),
        )
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached", timeout=20_000)
        return page

    open_.expected = []  # type: ignore[attr-defined]  # parts of messages that a test provokes
    yield open_
    for context in contexts:
        context.close()
    assert [m for m in said if not any(part in m for part in open_.expected)] == []  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_run(tmp_path_factory.mktemp("made-up") / "runs" / "made-up")


@pytest.fixture(scope="session")
def viewer(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the viewer of the made-up run."""
    out = tmp_path_factory.mktemp("viewer") / "viewer.html"
    write_page(made_up, out, 1000)
    return out.as_uri()


TOY = """
environment: {name: toy}
spaces: {api: {weight: 0.02}, gui: {weight: 0.02}, control: {weight: 0.02}}
stages: [sft, mtrl]
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
rollout: {workers: 0, worlds_per_worker: 8}
demonstrations: {episodes: 24}
sft: {epochs: 1, batch_size: 32, lr: 4e-3}
mtrl:
  {iterations: 2, groups: 2, group_size: 3, kl_coef: 0.01, filter_zero_variance: false, drop_all_fail: false}
evaluation: {episodes: 3, experts: false}
tracking: {mlflow: false, plots: false}
"""


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a real run, small."""
    from rich.console import Console

    from crossagent.pipeline import recipe_run as pipeline
    from crossagent.recipe.checks import validate
    from crossagent.recipe.schema import load_recipe
    from crossagent.registry.plugin_set import load_plugins
    from crossagent.testing import toy_environment

    directory = tmp_path_factory.mktemp("toy-run")
    (directory / "toy.yaml").write_text(TOY)
    recipe = load_recipe(directory / "toy.yaml", [f"runs_dir={directory / 'runs'}"])
    pipeline.run(validate(recipe, load_plugins().with_(environment=toy_environment())), Console(quiet=True))
    return recipe.run_directory
