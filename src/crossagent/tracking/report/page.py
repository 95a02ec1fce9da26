"""``report.html``: one self-contained page about a run, or about several side by side. No network, no script, all text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossagent.tracking.files import write_text
from crossagent.tracking.report import charts
from crossagent.tracking.report.compare import compare
from crossagent.tracking.report.data import collect
from crossagent.tracking.report.sections import sections

REPORT = "report.html"


def write_report(runs: Sequence[Path], out: Path) -> list[dict[str, Any]]:
    """Write the page about these runs, whole or not at all; returns the data it shows, one entry per run.

    Raises:
        DataError: One of them is no run of ours, or its files are damaged.
    """
    data = [collect(run) for run in runs]
    write_text(out, render(data))
    return data


def render(data: Sequence[Mapping[str, Any]]) -> str:
    """Return the page about what :func:`crossagent.tracking.report.data.collect` found."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("crossagent.tracking.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = _distinct([run["name"] for run in data], [run["directory"] for run in data])
    named = [{**run, "name": name} for run, name in zip(data, names, strict=True)]
    return environment.get_template("report.html.j2").render(
        title=", ".join(names),
        patterns=charts.patterns(),
        comparison=compare(named) if len(named) > 1 else [],
        runs=[(run, sections(run)) for run in named],
    )


def _distinct(names: Sequence[str], directories: Sequence[str]) -> list[str]:
    return [name if names.count(name) == 1 else directory for name, directory in zip(names, directories, strict=True)]
