"""``crossagent new-space`` and ``new-environment``: a package that keeps the contract from its first minute.

The templates are files beside this one, with ``$name`` in the places that depend on the name.
"""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Literal

from crossagent import __version__
from crossagent.envs.recording import MIXED
from crossagent.errors import CrossAgentError
from crossagent.plugin import CONTRACT
from crossagent.registry.plugin_set import PluginSet, clashing_header

Kind = Literal["space", "environment"]
_LONGEST = 32
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "module.py": "src/{package}/__init__.py",
    "py.typed": "src/{package}/py.typed",
    "test.py": "tests/test_{name}.py",
}
"""template → where its text goes."""


class ScaffoldError(CrossAgentError, ValueError):
    """A package cannot be written under this name or in this place."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a plugin called ``name`` calls its parts."""

    name: str

    @property
    def package(self) -> str:
        """The module to import."""
        return f"crossagent_{self.name}"

    @property
    def distribution(self) -> str:
        """What pip installs."""
        return f"crossagent-{self.name.replace('_', '-')}"

    @property
    def camel(self) -> str:
        """The stem of its classes."""
        return "".join(part.capitalize() for part in self.name.split("_"))

    @property
    def header(self) -> str:
        """What every response of a space opens with."""
        return f"{self.camel}:"


def new_package(kind: Kind, name: str, directory: Path | None, plugins: PluginSet) -> Path:
    """Write a package with one action space or environment, whole or not at all.

    Args:
        kind: What it declares.
        name: Of the space or environment.
        directory: Where; must not exist or be empty. None: ``crossagent-NAME`` in the working directory.
        plugins: What is installed, to find clashes.

    Returns:
        The package's directory.

    Raises:
        ScaffoldError: The name cannot be used, or the directory is not empty.
    """
    names = Names(name)
    _check_name(kind, names, plugins)
    target = directory or Path(names.distribution)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ScaffoldError(f"{target}: exists and is not empty; name another directory, or remove what is in it")
    words = {
        "name": name,
        "upper": name.upper(),
        "camel": names.camel,
        "header": names.header,
        "package": names.package,
        "distribution": names.distribution,
        "contract": CONTRACT,
        "version": __version__,
    }
    templates = files("crossagent.scaffold") / "templates" / kind
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            written = Path(scratch) / "package"
            for template, place in _FILES.items():
                path = written / place.format(package=names.package, name=name)
                path.parent.mkdir(parents=True, exist_ok=True)
                text = (templates / f"{template}.tmpl").read_text(encoding="utf-8")
                path.write_text(Template(text).substitute(words), encoding="utf-8")
            if target.exists():
                target.rmdir()
            shutil.move(written, target)
    except OSError as error:
        raise ScaffoldError(f"{target}: cannot be written ({error}); name a directory that you may write to") from error
    return target


def _check_name(kind: Kind, names: Names, plugins: PluginSet) -> None:
    """Raise :class:`ScaffoldError` unless a package of this name would work beside what is installed."""
    name, what = names.name, {"space": "action space", "environment": "environment"}[kind]
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > _LONGEST:
        better = "_".join(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()))[:_LONGEST]
        hint = f"; for instance {better.strip('_')!r}" if re.match(r"[a-z]", better) else ""
        raise ScaffoldError(
            f"{name!r} is no name of an {what}: expected lower-case letters, digits and single _, a letter first, "
            f"at most {_LONGEST} characters{hint}"
        )
    if keyword.iskeyword(name) or name == MIXED:
        why = "a word of Python" if keyword.iskeyword(name) else "what recipes call the agent of all spaces"
        raise ScaffoldError(f"{name!r} is {why}; take another name, e.g. {f'my_{name}'!r}")
    for table, of in ((plugins.spaces, "action space"), (plugins.environments, "environment")):
        if name in table:
            raise ScaffoldError(
                f"an installed {of} is called {name!r} ({plugins.where(of, name)}); two of one name are refused "
                "both. Take another name"
            )
    if find_spec(names.package) is not None:
        raise ScaffoldError(f"a module {names.package!r} is installed already; take another name")
    if kind == "space" and (clash := clashing_header(names.header, plugins.spaces.values())):
        raise ScaffoldError(
            f"{name!r} would give the header {names.header!r}, and the installed space {clash.name!r} has {clash.header!r}: "
            "one opens the other, so they could not be told apart. Take another name"
        )
