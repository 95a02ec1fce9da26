"""Which plugins fit this crossagent: the version of the contract, what changed between versions, and the rule.

The major number must match: it moves when something a plugin relies on changes. The plugin's minor number must not be
above ours: it moves when something is added, which an older crossagent does not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

CONTRACT = "1.2"
"""Version of :mod:`crossagent.plugin` and the protocols it exports. A plugin states the one it was written for as
``CROSSAGENT_CONTRACT``; one that states none was written for :data:`FIRST`."""
FIRST = "1.0"
CHANGES: Mapping[str, str] = {
    "1.0": "the hooks crossagent_action_spaces, crossagent_environments, crossagent_samplers and crossagent_commands; "
    "the interfaces control, pointer and skills",
    "1.1": "SampleRequest.grammar, Sample.allowed and SamplerSpec.constrains, for samplers that keep to a grammar",
    "1.2": "TaskList, a task suite that is a list of tasks; missing_header, which decode begins with",
}
"""version → what it brought, and what a plugin's author has to do."""


def contract_problem(stated: object, ours: str = CONTRACT, changes: Mapping[str, str] = CHANGES) -> str:
    """Return why a plugin written for the contract ``stated`` cannot be used with ``ours``, with the fix; else ``""``."""
    theirs = _read(stated)
    if theirs is None:
        return f"CROSSAGENT_CONTRACT is {stated!r}; expected 'MAJOR.MINOR' as a string, e.g. {ours!r}"
    mine = _read(ours)
    assert mine is not None
    if theirs[0] == mine[0] and theirs[1] <= mine[1]:
        return ""
    says = f"it is written for contract {stated}, this crossagent has contract {ours}"
    if theirs > mine:
        return f"{says}. Fix: upgrade crossagent (pip install -U crossagent), or install an older version of the plugin"
    between = sorted((v, text) for key, text in changes.items() if (v := _read(key)) and theirs < v <= mine)
    listed = "; ".join(f"{major}.{minor}: {text}" for (major, minor), text in between)
    return (
        f"{says}. Changed since: {listed or 'nothing is on record'}. Fix: install a newer version of the plugin, or, as its "
        f"author, adapt it and set CROSSAGENT_CONTRACT = {ours!r}"
    )


def _read(version: object) -> tuple[int, int] | None:
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", version):
        return None
    major, minor = version.split(".")
    return int(major), int(minor)
