"""What crossagent adds to pytest, installed by its entry point: short reports of broken contracts, and two fixtures.

Every run of pytest in an environment with crossagent loads this module, so it imports nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from crossagent.registry.plugin_set import PluginSet
    from crossagent.testing import ToyWorld


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """Show a broken rule as its message: what was found, what was expected, how to fix it; a traceback adds nothing."""
    report = yield
    raised = call.excinfo.type if call.excinfo is not None else None
    if getattr(raised, "__crossagent_message_only__", False):
        report.longrepr = str(call.excinfo.value)
    return report


@pytest.fixture
def crossagent_plugins() -> PluginSet:
    """The installed plugins, as ``crossagent plugins`` lists them."""
    from crossagent.registry.plugin_set import load_plugins

    return load_plugins()


@pytest.fixture
def crossagent_toy() -> ToyWorld:
    """The toy world, at the start of its task ``get:apple``: it offers control, pointer and skills."""
    from crossagent.testing import ToySuite, ToyWorld

    world = ToyWorld()
    world.reset(ToySuite().get("get:apple"), 0)
    return world
