"""Writes docs/reference/recipe.md, plugins.md and cli.md: every key of a recipe, every option of our own spaces and
worlds, every command, from the code that reads them.

python docs/generate.py          write the pages
python docs/generate.py --check  only tell whether they are what the code says (exit code 1: they are not)
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from omegaconf import MISSING

from crossagent.cli import build_parser
from crossagent.plugin import ActionSpaceSpec, EnvironmentSpec, SamplerSpec
from crossagent.recipe.schema import Recipe
from crossagent.registry.plugin_set import load_plugins

ROOT = Path(__file__).parents[1]
REFERENCE = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/generate.py; change the docstrings and help texts in the code instead. -->\n\n"


# -- recipe.md ------------------------------------------------------------------------------------------------------
def recipe_page() -> str:
    """Return the page with every key of a recipe: type, default, meaning."""
    lines = [
        HEAD + "# Recipe keys\n",
        "Every key a recipe may have; an unknown one is refused with the nearest known. `crossagent run RECIPE --print-config`",
        "shows what a recipe comes to. How files, overlays and `KEY=VALUE` are put together: [Recipe](../guides/recipe.md).\n",
        "What goes under `options`: [Spaces and environments](plugins.md).\n",
        "`NAME` stands for a name of yours. Types: `list[…]` and `dict[…]` as in Python; `| None`: `null` is allowed.\n",
    ]
    lines += _section(Recipe, "")
    return "\n".join(lines).rstrip() + "\n"


def _section(schema: Any, prefix: str) -> Iterator[str]:
    """Yield a heading and a table for a dataclass, then those of the dataclasses below it.

    The headings need no ids of their own: GitHub and mkdocs both take the name without its dots.
    """
    yield f"## {f'`{prefix[:-1]}`' if prefix else 'Top level'}\n"
    yield f"{_first_paragraph(schema)}\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    below = []
    hints, meanings = typing.get_type_hints(schema), attribute_docs(schema)
    for field in dataclasses.fields(schema):
        kind, key = hints[field.name], f"{prefix}{field.name}"
        inner = _dataclass_in(kind)
        meaning = meanings.get(field.name, "")
        if inner is not None:
            section, suffix = inner
            name = f"{key}{suffix}"
            below.append((section, f"{name}."))
            meaning = f"{meaning or _first_paragraph(section)} See [`{name}`](#{name.replace('.', '').lower()})."
        yield f"| `{key}` | {_type(kind)} | {_default(field, inner)} | {_cell(meaning)} |"
    yield ""
    for section, deeper in below:
        yield from _section(section, deeper)


def attribute_docs(schema: Any) -> dict[str, str]:
    """Return name → docstring below the field, a subclass over its bases; code alone has these, so it is parsed."""
    found: dict[str, str] = {}
    for cls in reversed(schema.__mro__):
        if not dataclasses.is_dataclass(cls):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(tree, ast.ClassDef)
        for statement, after in zip(tree.body, [*tree.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
                if isinstance(text, str):
                    found[statement.target.id] = inspect.cleandoc(text).replace("\n", " ")
    return found


def _dataclass_in(kind: Any) -> tuple[Any, str] | None:
    """Return (the dataclass, what follows the key) for a section, an optional one, or a mapping of them."""
    if dataclasses.is_dataclass(kind):
        return kind, ""
    args = get_args(kind)
    if get_origin(kind) is dict and dataclasses.is_dataclass(args[1]):
        return args[1], ".NAME"
    found = [arg for arg in args if dataclasses.is_dataclass(arg)]
    return (found[0], "") if found else None


def _type(kind: Any) -> str:
    if dataclasses.is_dataclass(kind):
        return "section"
    origin, args = get_origin(kind), get_args(kind)
    if origin is dict:
        return f"`dict[{args[0].__name__}, …]`" if dataclasses.is_dataclass(args[1]) else f"`{_plain(kind)}`"
    if any(dataclasses.is_dataclass(arg) for arg in args):
        return "section or `None`"
    return f"`{_plain(kind)}`".replace("|", "\\|")


def _plain(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " | ".join(repr(arg) for arg in get_args(kind))
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else re.sub(r"\b[a-z_.]+\.", "", str(kind))


def _default(field: Any, inner: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        if dataclasses.is_dataclass(value):
            return ""
        if inner is not None:
            value = {key: _changed(entry) for key, entry in value.items()}
    else:
        value = field.default
    if value is dataclasses.MISSING or value == MISSING:
        return "must be set"
    return f"`{value!r}`".replace("|", "\\|")


def _changed(section: Any) -> dict[str, Any]:
    """Return what a default section sets besides its own defaults."""
    plain = type(section)()
    return {
        f.name: getattr(section, f.name)
        for f in dataclasses.fields(section)
        if getattr(section, f.name) != getattr(plain, f.name) or f.name == "splits"
    }


def _first_paragraph(schema: Any) -> str:
    return inspect.cleandoc(schema.__doc__ or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


# -- plugins.md -----------------------------------------------------------------------------------------------------
def plugins_page() -> str:
    """Return the page with the spaces, environments and samplers of this repository, and their options."""
    plugins = load_plugins()
    ours = {tomllib.loads(file.read_text())["project"]["name"] for file in ROOT.glob("plugins/*/pyproject.toml")}
    tables = (
        ("Action spaces", "action space", plugins.spaces, "spaces.NAME.options"),
        ("Environments", "environment", plugins.environments, "environment.options"),
        ("Samplers", "sampler", plugins.samplers, "rollout.sampler.options"),
    )
    lines = [
        HEAD + "# Spaces and environments\n",
        "What the packages of this repository bring, with the options that a recipe gives them. `crossagent plugins` lists what is",
        "installed, others' packages included; `crossagent tasks ENVIRONMENT` lists an environment's tasks.\n",
    ]
    for title, kind, specs, section in tables:
        found = sorted(
            (s for n, s in specs.items() if plugins.origins[kind, n].distribution in ours), key=lambda s: s.name
        )
        if found:
            lines += [f"## {title}\n", f"Options go under `{section}`.\n"]
            for spec in found:
                lines += _declared(spec, plugins.origins[kind, spec.name].distribution)
    return "\n".join(lines).rstrip() + "\n"


def _declared(spec: ActionSpaceSpec | EnvironmentSpec | SamplerSpec, distribution: str) -> Iterator[str]:
    """Yield the section of one declaration: what it is, what it needs or offers, its options."""
    module, _, name = str(spec.factory).partition(":")
    factory = getattr(importlib.import_module(module), name)
    about, meanings = docstring_parts(factory)
    yield f"### `{spec.name}`\n"
    yield f"{_sentence(spec.doc)} Package `{distribution}`.\n"
    if isinstance(spec, ActionSpaceSpec):
        needs = ", ".join(f"`{name}`" for name in spec.requires)
        yield f"Needs {needs}; a response begins with `{spec.header}`.\n"
    if isinstance(spec, EnvironmentSpec):
        offers, experts = (
            ", ".join(f"`{name}`" for name in names) for names in (spec.interfaces, sorted(spec.experts))
        )
        yield f"Offers {offers}" + (f"; experts for {experts}" if experts else "") + ".\n"
    if about:
        yield f"{about}\n"
    parameters = [
        p
        for p in inspect.signature(factory).parameters.values()
        if not (isinstance(spec, SamplerSpec) and p.name == "policy")
    ]
    if parameters:
        yield "| option | type | default | meaning |\n|---|---|---|---|"
        hints = typing.get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
        for p in parameters:
            default = "must be set" if p.default is p.empty else f"`{p.default!r}`"
            yield f"| `{p.name}` | {_type(hints[p.name])} | {default} | {_cell(meanings.get(p.name, ''))} |"
        yield ""


def docstring_parts(factory: Any) -> tuple[str, dict[str, str]]:
    """Return (the paragraphs between the first and ``Args:``, name → meaning) of a class's Google docstring."""
    text, _, rest = (inspect.getdoc(factory) or "").partition("Args:\n")
    about = " ".join(" ".join(text.split("\n\n")[1:]).split()).replace("``", "`")
    block = textwrap.dedent(re.split(r"\n(?=\S)", rest)[0])
    entries = re.split(r"\n(?=\S)", block) if block.strip() else []
    return about, {name.strip(): " ".join(meaning.split()) for name, _, meaning in (e.partition(":") for e in entries)}


# -- cli.md ---------------------------------------------------------------------------------------------------------
def cli_page() -> str:
    """Return the page with every command and its arguments."""
    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help for choice in commands._choices_actions}
    lines = [
        HEAD + "# Command line\n",
        f"{parser.description} `python -m crossagent` is the same as `crossagent`. Exit codes: 0 done; 1 a check failed;",
        "2 something is yours to fix, said in one message; 130 interrupted; 143 asked to stop, with a resume point written.\n",
    ]
    for name, command in sorted(commands.choices.items()):
        lines += [f"## `crossagent {name}`\n", f"{_sentence(helps[name])}\n", "| argument | meaning |", "|---|---|"]
        for action in command._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            shown = ", ".join(action.option_strings) if action.option_strings else str(action.metavar or action.dest)
            if action.option_strings and action.nargs != 0:
                shown += f" {action.metavar or action.dest.upper()}"
            elif not action.option_strings and action.nargs == "*":
                shown += " …"
            lines.append(f"| `{shown}` | {_sentence(action.help)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _sentence(text: str | None) -> str:
    text = (text or "").replace("|", "\\|").replace("%%", "%")
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ")")) else ".")


PAGES = {"recipe.md": recipe_page, "plugins.md": plugins_page, "cli.md": cli_page}


def main() -> int:
    """Write or check the pages."""
    stale = [
        name
        for name, page in PAGES.items()
        if not (REFERENCE / name).is_file() or (REFERENCE / name).read_text(encoding="utf-8") != page()
    ]
    if sys.argv[1:] == ["--check"]:
        for name in stale:
            print(f"docs/reference/{name} is not what the code says; run: python docs/generate.py")
        return 1 if stale else 0
    for name in stale:
        (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
