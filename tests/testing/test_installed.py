"""Our own spaces keep the contract in our own world, as `crossagent check` says it."""

from __future__ import annotations

import pytest

from crossagent.registry.plugin_set import load_plugins
from crossagent.testing import check_plugin


@pytest.mark.parametrize("space", ["api", "gui", "control"])
def test_a_space_keeps_the_contract_in_craftworld(space: str) -> None:
    assert check_plugin(load_plugins(), space, "craftworld") == []
