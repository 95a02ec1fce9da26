"""One plugin's declarations: its module imported, its hooks called, what they return checked. Every fault has its fix."""

from __future__ import annotations

import copy
import inspect
import re
import time
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from crossagent.envs.base import EnvironmentSpec
from crossagent.envs.recording import MIXED
from crossagent.errors import PluginError, did_you_mean
from crossagent.plugin import GROUP, CommandSpec, Hooks, SamplerSpec
from crossagent.plugin_version import FIRST, contract_problem
from crossagent.spaces.base import ActionSpace, ActionSpaceSpec

Spec = ActionSpaceSpec | EnvironmentSpec | SamplerSpec | CommandSpec
BUILT_IN_SAMPLERS = ("fast", "generate", "vllm")
"""What ``rollout.sampler.name`` takes without any plugin."""
CONSTRAINING = ("fast", "generate")
"""Those that keep to a grammar."""

_HOOKS: dict[str, type[Spec]] = {
    "crossagent_action_spaces": ActionSpaceSpec,
    "crossagent_environments": EnvironmentSpec,
    "crossagent_samplers": SamplerSpec,
    "crossagent_commands": CommandSpec,
}


@dataclass(frozen=True, slots=True)
class LoadStep:
    """One thing that was done while a plugin was loaded."""

    plugin: str
    step: str
    """``import``, or the hook that was called."""
    result: str
    """What it returned; empty when it raised."""
    error: str
    milliseconds: float


def declarations_of(name: str, entry: EntryPoint, steps: list[LoadStep]) -> list[Spec]:
    """Load one plugin and call its hooks; raises whatever is wrong with it."""
    plugin = _import(name, entry, steps)
    if problem := contract_problem(getattr(plugin, "CROSSAGENT_CONTRACT", FIRST)):
        raise PluginError(problem)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(plugin, name=name)
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{' '.join(str(error).split())}. Fix: hooks take no arguments") from error
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        if not caller.has_spec():
            raise PluginError(f"unknown hook {caller.name!r}. {did_you_mean(caller.name, list(_HOOKS))}")
    if not callers:
        unmarked = [n for n in dir(plugin) if n.startswith("crossagent_") and callable(getattr(plugin, n))]
        hint = f"; put @hookimpl on {', '.join(unmarked)}" if unmarked else f"; it needs one of {', '.join(_HOOKS)}"
        raise PluginError(f"{entry.value} has no hook marked with @hookimpl{hint}")
    began = time.perf_counter()

    def before(hook_name: str, methods: Any, kwargs: Any) -> None:
        nonlocal began
        began = time.perf_counter()

    def after(outcome: pluggy.Result[Any], hook_name: str, methods: Any, kwargs: Any) -> None:
        _note(steps, name, hook_name, began, outcome.exception or outcome.get_result())

    manager.add_hookcall_monitoring(before, after)
    specs: list[Spec] = []
    for caller in callers:
        try:
            returned_by_all = caller()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{caller.name} raised {type(error).__name__}: {error}. Fix: a hook only returns declarations; leave what "
                "can fail to the factory, which is called when a recipe asks for it"
            ) from error
        for returned in returned_by_all:
            if not isinstance(returned, (list, tuple)):
                raise PluginError(
                    f"{caller.name} returned {type(returned).__name__}; expected a list of {_HOOKS[caller.name].__name__}"
                )
            for spec in returned:
                if not isinstance(spec, _HOOKS[caller.name]):
                    raise PluginError(
                        f"{caller.name} returned a list with {spec!r}; expected {_HOOKS[caller.name].__name__}"
                    )
                check_spec(spec)
                specs.append(spec)
    return specs


def _import(name: str, entry: EntryPoint, steps: list[LoadStep]) -> Any:
    """Import the plugin's module; whatever it raises becomes a :class:`PluginError` with the fix."""
    began = time.perf_counter()
    try:
        plugin = entry.load()
    except (Exception, SystemExit) as error:  # an import may raise anything; name it and go on
        _note(steps, name, "import", began, error)
        lost = error.name if isinstance(error, ModuleNotFoundError) else None
        if lost and lost.partition(".")[0] != entry.module.partition(".")[0]:
            fix = f"install {lost.partition('.')[0]!r}, or take the import out"
        elif lost or isinstance(error, AttributeError):
            fix = f"let the entry point ({entry.value!r} in the package's pyproject.toml) name what is there, and install it anew"
        else:
            fix = f"`python -c 'import {entry.module}'` shows the traceback"
        raise PluginError(f"{type(error).__name__} while it was imported: {error}. Fix: {fix}") from error
    _note(steps, name, "import", began, plugin)
    return plugin


def _note(steps: list[LoadStep], plugin: str, step: str, began: float, outcome: Any) -> None:
    spent = 1000 * (time.perf_counter() - began)
    if isinstance(outcome, BaseException):
        steps.append(LoadStep(plugin, step, "", f"{type(outcome).__name__}: {outcome}", spent))
        return
    if isinstance(outcome, list):  # one result per implementation of the hook
        flat = [
            spec for returned in outcome for spec in (returned if isinstance(returned, (list, tuple)) else [returned])
        ]
        said = ", ".join(spec.name if isinstance(spec, Spec) else repr(spec) for spec in flat) or "nothing"
    else:
        said = getattr(outcome, "__file__", None) or repr(outcome)
    steps.append(LoadStep(plugin, step, said, "", spent))


def declared_by(space: ActionSpace | type[ActionSpace]) -> ActionSpaceSpec:
    """Return the declaration of a space that no package declares."""
    kind = space if isinstance(space, type) else type(space)
    if not issubclass(kind, ActionSpace):
        raise PluginError(f"space: got {space!r}; expected an ActionSpace, its class, or an ActionSpaceSpec")
    missing = [name for name in ("name", "version", "requires", "header") if not hasattr(space, name)]
    if missing:
        raise PluginError(f"space: {kind.__name__} has no {' and no '.join(missing)}; set it on the class")
    doc = (inspect.getdoc(kind) or "").partition("\n")[0]
    factory = kind if isinstance(space, type) else _Copies(space)
    return ActionSpaceSpec(space.name, space.version, tuple(space.requires), space.header, factory, doc)


class _Copies:
    """Makes copies of one object: each process, and each run, has its own."""

    def __init__(self, original: ActionSpace) -> None:
        self.original = original
        self.__name__ = f"the given {type(original).__name__}"

    def __call__(self) -> ActionSpace:
        return copy.deepcopy(self.original)


def check_spec(spec: Spec, installed: bool = True) -> None:
    """Raise :class:`PluginError` for a declaration whose fields cannot be right; only names of classes if ``installed``."""
    where = f"{type(spec).__name__} {spec.name!r}"
    if not (isinstance(spec.name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", spec.name)):
        raise PluginError(f"{where}: a name is lower-case letters, digits and _, a letter first")
    if spec.name == MIXED:
        raise PluginError(f"{where}: recipes call the agent of all spaces {MIXED!r}; take another name")
    if isinstance(spec, SamplerSpec) and spec.name in BUILT_IN_SAMPLERS:
        raise PluginError(f"{where}: {spec.name!r} is built in; take another name")
    if not isinstance(spec.version, str):
        raise PluginError(f"{where}: version is {spec.version!r}; expected a string such as '1'")
    if isinstance(spec, (ActionSpaceSpec, EnvironmentSpec)):
        listed = "requires" if isinstance(spec, ActionSpaceSpec) else "interfaces"
        value = getattr(spec, listed)
        if not (isinstance(value, (tuple, list)) and all(isinstance(v, str) for v in value)):
            raise PluginError(f"{where}: {listed} is {value!r}; expected a tuple of interface names, e.g. ('control',)")
    if isinstance(spec, ActionSpaceSpec) and not (isinstance(spec.header, str) and spec.header.strip()):
        raise PluginError(f"{where}: header is {spec.header!r}; expected some text such as 'Toy:'")
    if isinstance(spec, ActionSpaceSpec) and not isinstance(spec.instead_of, (tuple, list)):
        raise PluginError(f"{where}: instead_of is {spec.instead_of!r}; expected a tuple of spaces, e.g. ('control',)")
    builds = "function" if isinstance(spec, CommandSpec) else "factory"
    paths: dict[str, Any] = {builds: getattr(spec, builds)}
    if isinstance(spec, EnvironmentSpec):
        paths |= {"suite": spec.suite, **{f"experts[{i!r}]": path for i, path in spec.experts.items()}}
        if strange := sorted(set(spec.experts) - set(spec.interfaces)):
            raise PluginError(
                f"{where}: experts for {strange}, which are none of its interfaces {spec.interfaces}; offer them or leave them out"
            )
    for attribute, path in paths.items():
        if not (re.fullmatch(r"[\w.]+:\w+", path) if isinstance(path, str) else callable(path) and not installed):
            raise PluginError(f"{where}: {attribute} is {path!r}; expected 'module:Name'")
