"""YAML files and ``key=value`` overrides in; one typed object out. Knows dataclasses and YAML, nothing of recipes.

The order of layers, later ones winning: the dataclasses' defaults, the files named in ``defaults:`` (depth first, in
order, paths relative to the file that names them), the file itself, the overrides. Mappings merge key by key, lists
are replaced as a whole, and a mapping's entry set to null is removed (where the schema allows free keys).

Every fault of every layer is collected before anything is raised, so that one message lists them all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crossagent.errors import RecipeError, did_you_mean

T = TypeVar("T")
Layer = tuple[str, dict[str, Any]]
"""Where it comes from (a file or ``command line``), and its plain content."""


def compose(schema: type[T], path: str | Path, overrides: Sequence[str] = (), overlays: Sequence[str | Path] = ()) -> T:
    """Return ``schema`` filled from a file, overlays and overrides.

    Args:
        schema: A dataclass of dataclasses.
        path: A YAML file; its optional ``defaults:`` lists files it inherits from.
        overrides: ``a.b=value`` or, into a list, ``a.0=value``; values are YAML.
        overlays: More files, laid over the first in this order.

    Raises:
        RecipeError: with every unknown key, wrong type and missing value, each with where it stands.
    """
    layers = [layer for file in (path, *overlays) for layer in load_layers(Path(file))]
    problems = [p for source, content in layers for p in check(content, schema, source)]
    merged = _lists(OmegaConf.to_container(OmegaConf.structured(schema)))
    for _, content in layers:
        merged = merge(merged, content)
    problems += apply_overrides(merged, overrides, schema)
    if problems:
        raise RecipeError("\n".join(dict.fromkeys(problems)))
    merged = _without_removed(merged, schema)
    try:
        typed = OmegaConf.structured(schema)
        _clear_free_keys(typed, schema)  # `merged` began with the defaults; what it lacks was removed on purpose
        config = OmegaConf.merge(typed, merged)
        OmegaConf.resolve(config)
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise RecipeError(f"{path}: not set: {', '.join(missing)}. Set it in the file or as KEY=VALUE.")
        plain: Any = OmegaConf.to_container(config)
        problems = check(plain, schema, str(path))
        if problems:
            raise RecipeError("\n".join(problems))
        refused = _refused_sections(config, schema)
        if refused:
            raise RecipeError("\n".join(f"{path}: {problem}" for problem in refused))
        return typing.cast(T, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if getattr(error, "full_key", None) else ""
        raise RecipeError(f"{path}: {key}{str(error).splitlines()[0]}") from error
    except (ValueError, TypeError) as error:  # a component's __post_init__ refuses a value, or a combination of them
        text = str(error)
        raise RecipeError(text if text.startswith(f"{path}:") else f"{path}: {text}") from error


def plain(config: Any) -> dict[str, Any]:
    """Return a composed dataclass as plain JSON-able dicts and lists."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def to_yaml(config: Any) -> str:
    """Return a composed dataclass as YAML, in the schema's order."""
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True, width=110)


def canonical_sha256(content: Any) -> str:
    """Return the sha256 of the canonical JSON of plain content: sorted keys, no spaces, exact floats."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differing_keys(before: Any, after: Any, prefix: str = "") -> list[str]:
    """Return the dotted keys at which two plain trees differ, with both values."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = list(dict.fromkeys([*before, *after]))
        absent = object()
        found = []
        for key in keys:
            a, b = before.get(key, absent), after.get(key, absent)
            if a is absent or b is absent:
                found.append(f"{prefix}{key}: {'not set' if a is absent else a} → {'not set' if b is absent else b}")
            else:
                found += differing_keys(a, b, f"{prefix}{key}.")
        return found
    return [] if before == after else [f"{prefix[:-1]}: {before} → {after}"]


# -- files ----------------------------------------------------------------------------------------------------------
def load_layers(path: Path, stack: tuple[Path, ...] = ()) -> list[Layer]:
    """Return the file's layers, ancestors first. Raises :class:`RecipeError` for a cycle or an unreadable file."""
    resolved = path.resolve()
    if resolved in stack:
        chain = " → ".join(p.name for p in (*stack[stack.index(resolved) :], resolved))
        raise RecipeError(f"{path}: `defaults:` go in a circle: {chain}. Remove one of them.")
    content = read_yaml(path, named_by=stack[-1] if stack else None)
    parents = content.pop("defaults", None) or []
    if not isinstance(parents, list) or not all(isinstance(p, str) for p in parents):
        raise RecipeError(f"{path}: defaults: got {parents!r}; expected a list of files, e.g. [quickstart.yaml]")
    layers: list[Layer] = []
    for parent in parents:
        layers += load_layers(path.parent / parent, (*stack, resolved))
    return [*layers, (str(path), content)]


def read_yaml(path: Path, named_by: Path | None = None) -> dict[str, Any]:
    """Return a file's mapping (empty for an empty file)."""
    origin = f" (in the `defaults:` of {named_by.name})" if named_by else ""
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("recipes")
        known = [os.path.relpath(p) for p in sorted(folder.glob("*.yaml"))] if folder.is_dir() else []
        hint = did_you_mean(str(path), known) if known else "There are no recipes in that folder."
        kind = "is a directory, not a recipe" if path.is_dir() else "no such recipe"
        raise RecipeError(f"{path}{origin}: {kind}. {hint}")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))  # OmegaConf reads 1e-3 as a float, and finds twin keys
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise RecipeError(f"{where}{origin}: malformed YAML: {problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}{origin}: malformed YAML: {str(error).splitlines()[0]}") from error
    except (OmegaConfBaseException, OSError) as error:
        raise RecipeError(f"{path}{origin}: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}{origin}: got {_kind(content)}; expected a mapping of keys such as `seed: 0`")
    return {str(key): value for key, value in content.items()}


def merge(base: Any, top: Any) -> Any:
    """Return ``top`` over ``base``: mappings key by key, everything else replaced."""
    if isinstance(base, dict) and isinstance(top, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in top.items()}}
    return top


def _refused_sections(config: Any, schema: Any, prefix: str = "") -> list[str]:
    """Build each section by itself, innermost first, so that what its ``__post_init__`` refuses carries its key."""
    problems: list[str] = []
    for name, expected in _fields(schema).items():
        bare, key, node = _strip_optional(expected)[0], f"{prefix}{name}", config[name]
        inner = {key: (bare, node)}
        if get_origin(bare) is dict and dataclasses.is_dataclass(get_args(bare)[1]):
            inner = {f"{key}.{entry}": (get_args(bare)[1], node[entry]) for entry in node}
        for full, (kind, section) in inner.items():
            if not dataclasses.is_dataclass(kind) or section is None:
                continue
            below = _refused_sections(section, kind, f"{full}.")
            problems += below
            if below:
                continue
            try:
                OmegaConf.to_object(section)
            except (ValueError, TypeError) as error:
                text = str(error)
                section_name = f"{full.split('.')[0]}."
                if section_name in text:
                    problems.append(text)
                else:
                    problems.append(f"{full}.{text}" if text.split(":")[0] in _fields(kind) else f"{full}: {text}")
    return problems


def _lists(node: Any) -> Any:
    """Return plain content with tuples as lists, so that an override can set one entry."""
    if isinstance(node, dict):
        return {key: _lists(value) for key, value in node.items()}
    return [_lists(value) for value in node] if isinstance(node, (list, tuple)) else node


def _without_removed(content: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Drop null entries of mappings with free keys and structured values (``spaces: {gui: null}``)."""
    fields = _fields(schema)
    for name, value in list(content.items()):
        if not isinstance(value, dict):
            continue
        expected = _strip_optional(fields[name])[0] if name in fields else None
        if dataclasses.is_dataclass(expected):
            content[name] = _without_removed(value, expected)
        elif get_origin(expected) is dict and dataclasses.is_dataclass(get_args(expected)[1]):
            content[name] = {k: v for k, v in value.items() if v is not None}
    return content


def _clear_free_keys(config: Any, schema: Any) -> None:
    """Empty, in place, the mappings with free keys and structured values that a default fills."""
    for name, expected in _fields(schema).items():
        bare = _strip_optional(expected)[0]
        if dataclasses.is_dataclass(bare) and config[name] is not None:
            _clear_free_keys(config[name], bare)
        elif get_origin(bare) is dict and dataclasses.is_dataclass(get_args(bare)[1]):
            config[name] = {}


# -- overrides ------------------------------------------------------------------------------------------------------
def apply_overrides(content: dict[str, Any], overrides: Iterable[str], schema: Any) -> list[str]:
    """Write ``key=value`` overrides into ``content`` in place; return what is wrong with them."""
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key or not all(key.split(".")):
            problems.append(f"command line: got {override!r}; expected KEY=VALUE, e.g. seed=1 or spaces.api.weight=0.1")
            continue
        try:
            value = OmegaConf.to_container(OmegaConf.from_dotlist([f"v={text}"]))["v"]  # type: ignore[index,call-overload]
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            problems.append(f"command line: {key}: malformed value {text!r}: {str(error).splitlines()[0]}")
            continue
        problem = _set(content, key, value, schema)
        if problem:
            problems.append(f"command line: {problem}")
    return problems


def _set(content: dict[str, Any], key: str, value: Any, schema: Any) -> str:
    """Set one dotted key in place; return the problem, or nothing."""
    expected: Any = schema
    node: Any = content
    parts = key.split(".")
    removable = False
    for depth, part in enumerate(parts):
        here, last = ".".join(parts[: depth + 1]), depth == len(parts) - 1
        bare, _ = _strip_optional(expected)
        index: Any = part
        if dataclasses.is_dataclass(bare):
            fields = _fields(bare)
            if part not in fields:
                return _unknown(here, part, bare)
            expected = fields[part]
        elif get_origin(bare) is dict or bare is dict or bare is Any:
            expected = get_args(bare)[1] if get_args(bare) else Any
            entries = dataclasses.is_dataclass(expected)
            removable = last and value is None and entries
            if entries and not last and part not in node:
                where = ".".join(parts[:depth])
                return (
                    f"{key}: {where} has no {part!r}, so there is nothing to change in it. {did_you_mean(part, list(node))} "
                    f"To add it: {here}={{{parts[-1]}: …}}"
                )
        elif get_origin(bare) in (list, tuple):
            if not part.lstrip("-").isdigit():
                return f"{here}: got {part!r}; expected the index of a list, e.g. {'.'.join(parts[:depth])}.0"
            index, expected = int(part), get_args(bare)[0]
        else:
            return f"{'.'.join(parts[:depth])}: is {_name(bare)}, so {key!r} cannot be set inside it"
        if isinstance(node, list) and isinstance(index, str) and index.lstrip("-").isdigit():
            index = int(index)
        if isinstance(node, list) and (not isinstance(index, int) or not -len(node) <= index < len(node)):
            return f"{here}: the list has {len(node)} entries; expected an index in 0…{len(node) - 1}"
        if last:
            found = [] if removable else _check_value(value, expected, here)
            if found:
                return "\n".join(found)
            node[index] = value
            return ""
        inner = node[index] if isinstance(node, list) else node.get(index)
        if inner is None:
            if get_origin(_strip_optional(expected)[0]) in (list, tuple):
                return f"{here}: is not set; set the list as a whole, e.g. {here}='[…]'"
            inner = {}
            node[index] = inner
        if not isinstance(inner, (dict, list)):
            return f"{here}: is {inner!r}, so {key!r} cannot be set inside it"
        node = inner
    return ""


# -- types ----------------------------------------------------------------------------------------------------------
def check(content: dict[str, Any], schema: Any, source: str) -> list[str]:
    """Return every unknown key and wrong type of one layer, each naming the source."""
    return [f"{source}: {problem}" for problem in _check_value(content, schema, "")]


def _check_value(value: Any, expected: Any, key: str) -> list[str]:
    bare, optional = _strip_optional(expected)
    if bare is Any or value == MISSING or (isinstance(value, str) and "${" in value):
        return []
    if value is None:
        return [] if optional else [f"{key}: got null; expected {_name(bare)}"]
    if dataclasses.is_dataclass(bare):
        if not isinstance(value, dict):
            names = ", ".join(_fields(bare))
            return [f"{key}: got {_kind(value)}; expected a mapping with keys of: {names}"]
        fields = _fields(bare)
        problems = []
        for name, inner in value.items():
            full = f"{key}.{name}" if key else str(name)
            problems += _check_value(inner, fields[name], full) if name in fields else [_unknown(full, name, bare)]
        return problems
    origin, args = get_origin(bare), get_args(bare)
    if origin is dict or bare is dict:
        if not isinstance(value, dict):
            return [f"{key}: got {_kind(value)}; expected a mapping"]
        inner_type = args[1] if args else Any
        removable = dataclasses.is_dataclass(inner_type)
        return [
            problem
            for name, inner in value.items()
            if not (removable and inner is None)
            for problem in _check_value(inner, inner_type, f"{key}.{name}")
        ]
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return [f"{key}: got {_kind(value)}; expected a list, e.g. [{_name(args[0])}, …]"]
        types_ = list(args) if origin is tuple and Ellipsis not in args else [args[0]] * len(value)
        if len(types_) != len(value):
            return [f"{key}: got {len(value)} values; expected {len(types_)}"]
        return [
            problem
            for i, (inner, inner_type) in enumerate(zip(value, types_, strict=True))
            for problem in _check_value(inner, inner_type, f"{key}.{i}")
        ]
    if origin is Literal:
        if value in args and type(value) in {type(a) for a in args}:
            return []
        hint = " " + did_you_mean(value, [str(a) for a in args]) if isinstance(value, str) else ""
        return [f"{key}: got {value!r}; expected one of {', '.join(map(repr, args))}.{hint}".rstrip()]
    good = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, (int, float)) and not isinstance(value, bool),
        str: isinstance(value, (str, int, float)) and not isinstance(value, bool),
    }.get(bare, True)
    return [] if good else [f"{key}: got {_kind(value)}; expected {_name(bare)}"]


def _fields(schema: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    return {f.name: hints[f.name] for f in dataclasses.fields(schema)}


def _strip_optional(expected: Any) -> tuple[Any, bool]:
    """Return (the type without None, whether None is allowed)."""
    if get_origin(expected) in (typing.Union, types.UnionType):
        inner = [a for a in get_args(expected) if a is not type(None)]
        if len(inner) < len(get_args(expected)):
            return (inner[0] if len(inner) == 1 else Any), True
        return Any, False
    return expected, expected is Any


def _unknown(full: str, name: object, schema: Any) -> str:
    reason = getattr(schema, "NOT_OFFERED", {}).get(name)  # a key left out on purpose says why
    return f"{full}: {reason}" if reason else f"unknown key {full!r}. {did_you_mean(str(name), list(_fields(schema)))}"


def _name(expected: Any) -> str:
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
    if expected in names:
        return names[expected]
    if dataclasses.is_dataclass(expected):
        return "a mapping"
    origins = {list: "a list", tuple: "a list", dict: "a mapping"}
    if get_origin(expected) in origins:
        return origins[get_origin(expected)]
    return getattr(expected, "__name__", str(expected))


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    return f"{value!r} ({type(value).__name__})"
