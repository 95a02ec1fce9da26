"""Installed plugins in, a :class:`PluginSet` out: what was found, what failed and why. No global state, no torch.

One broken package never takes the others down. Unlike ``PluginManager.load_setuptools_entrypoints``, a plugin whose
import raises is recorded and skipped; two distributions that claim one name are refused both, not the second silently;
and a misspelt hook is that plugin's failure instead of being ignored.
"""

from __future__ import annotations

import inspect
import typing
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from crossagent.envs.base import Environment, EnvironmentSpec, TaskSuite
from crossagent.errors import PluginError, did_you_mean
from crossagent.import_path import resolve
from crossagent.plugin import GROUP, CommandSpec, SampledPolicy, Sampler, SamplerSpec, Unavailable
from crossagent.registry.loading import LoadStep, Spec, check_spec, declarations_of, declared_by
from crossagent.spaces.base import ActionSpace, ActionSpaceSpec, SpaceSet

S = TypeVar("S", ActionSpaceSpec, EnvironmentSpec, SamplerSpec, CommandSpec)

_KIND: dict[type[Spec], str] = {
    ActionSpaceSpec: "action space",
    EnvironmentSpec: "environment",
    SamplerSpec: "sampler",
    CommandSpec: "command",
}
_TABLE = {
    ActionSpaceSpec: "spaces",
    EnvironmentSpec: "environments",
    SamplerSpec: "samplers",
    CommandSpec: "commands",
}
"""Kind of declaration → attribute of a :class:`PluginSet`, and key of its listing."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The installed package something comes from; empty for what was added by :meth:`PluginSet.with_`."""

    distribution: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """One plugin that is installed and cannot be used."""

    name: str
    """Of its entry point."""
    origin: Origin
    reason: str
    declares: tuple[str, ...] = ()
    """Names it would have brought, where it came that far."""

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.origin.distribution or 'an unknown distribution'} failed: {self.reason}"


@dataclass(frozen=True)
class PluginSet:
    """A value: the declarations of every working plugin, by name, and the failures of the others."""

    spaces: Mapping[str, ActionSpaceSpec] = field(default_factory=dict)
    environments: Mapping[str, EnvironmentSpec] = field(default_factory=dict)
    samplers: Mapping[str, SamplerSpec] = field(default_factory=dict)
    commands: Mapping[str, CommandSpec] = field(default_factory=dict)
    failures: tuple[PluginFailure, ...] = ()
    origins: Mapping[tuple[str, str], Origin] = field(default_factory=dict)
    """(kind, name) → package; kind is ``action space``, ``environment``, ``sampler`` or ``command``."""

    def with_(
        self,
        *,
        space: ActionSpaceSpec | ActionSpace | type[ActionSpace] | None = None,
        environment: EnvironmentSpec | None = None,
        sampler: SamplerSpec | None = None,
    ) -> PluginSet:
        """Return a set with one more space, environment or sampler that no package declares; replaces one of that name.

        Args:
            space: A space, its class (which a recipe may give options), or its declaration.
            environment: A declaration; ``factory``, ``suite`` and ``experts`` may be classes instead of their names.
            sampler: A declaration; ``factory`` may be a class instead of its name.

        Raises:
            PluginError: A field of the declaration cannot be right.
        """
        result = self
        if space is not None:
            spec = space if isinstance(space, ActionSpaceSpec) else declared_by(space)
            check_spec(spec, installed=False)
            result = result._added(spec, Origin())
        for declared in (environment, sampler):
            if declared is not None:
                check_spec(declared, installed=False)
                result = result._added(declared, Origin())
        return result

    def _added(self, spec: Spec, origin: Origin) -> PluginSet:
        origins = {**self.origins, (_KIND[type(spec)], spec.name): origin}
        table = _TABLE[type(spec)]
        added: dict[str, Any] = {table: {**getattr(self, table), spec.name: spec}}
        return replace(self, origins=origins, **added)

    # -- looking up ------------------------------------------------------------------------------------------------
    def space(self, name: str) -> ActionSpaceSpec:
        """Return the declaration of a space; raises :class:`PluginError` when it is missing or its plugin is broken."""
        return self._find(name, self.spaces, "action space")

    def environment(self, name: str) -> EnvironmentSpec:
        """Return the declaration of an environment; raises :class:`PluginError`."""
        return self._find(name, self.environments, "environment")

    def sampler(self, name: str) -> SamplerSpec:
        """Return the declaration of a sampler; raises :class:`PluginError`."""
        return self._find(name, self.samplers, "sampler")

    def _find(self, name: str, table: Mapping[str, S], kind: str, more: Iterable[str] = ()) -> S:
        if name in table:
            return table[name]
        culprits = [f for f in self.failures if name == f.name or name in f.declares]
        if culprits:
            raise PluginError(
                f"{kind} {name!r} cannot be used: {'; '.join(map(str, culprits))}. "
                "Fix or uninstall that package; `crossagent plugins` lists what works."
            )
        broken = f" Also installed, but broken: {'; '.join(map(str, self.failures))}." if self.failures else ""
        raise PluginError(f"unknown {kind} {name!r}. {did_you_mean(name, [*table, *more])}{broken}")

    # -- building --------------------------------------------------------------------------------------------------
    def build_space(self, name: str, options: Mapping[str, Any] | None = None) -> ActionSpace:
        """Build a space; raises :class:`PluginError` for bad options and for a factory that breaks its declaration."""
        spec = self.space(name)
        where = self.where("action space", name)
        space = _build(spec.factory, options or {}, where)
        if not isinstance(space, ActionSpace):
            raise PluginError(
                f"{where}: {_shown(spec.factory)} returned {type(space).__name__}; expected an ActionSpace"
            )
        for attribute in ("name", "header", "version", "requires"):
            declared, real = getattr(spec, attribute), getattr(space, attribute, None)
            if real != declared:
                raise PluginError(
                    f"{where}: the spec declares {attribute}={declared!r}, {_shown(spec.factory)} has {real!r}; make them equal"
                )
        return space

    def build_environment(self, name: str, options: Mapping[str, Any] | None = None) -> Environment:
        """Build an environment; raises :class:`PluginError`, or :class:`Unavailable` for one that cannot start on this machine."""
        spec = self.environment(name)
        where = self.where("environment", name)
        env = _build(spec.factory, options or {}, where)
        if not isinstance(env, Environment):
            raise PluginError(f"{where}: {_shown(spec.factory)} returned {type(env).__name__}; expected an Environment")
        return env

    def check_environment_options(self, name: str, options: Mapping[str, Any]) -> None:
        """Raise :class:`PluginError` unless the environment's factory can be imported and takes these options.

        Builds nothing: an environment may be slow to start.
        """
        _factory(self.environment(name).factory, options, self.where("environment", name))

    def check_sampler_options(self, name: str, options: Mapping[str, Any]) -> None:
        """Raise :class:`PluginError` unless the sampler's factory can be imported and takes these options; builds nothing."""
        _factory(self.sampler(name).factory, options, self.where("sampler", name))

    def build_sampler(self, name: str, policy: SampledPolicy, options: Mapping[str, Any] | None = None) -> Sampler:
        """Build a sampler of a plugin for a policy; raises :class:`PluginError`."""
        spec = self.sampler(name)
        where = self.where("sampler", name)
        factory = _factory(spec.factory, options or {}, where)
        try:
            sampler: Sampler = factory(policy, **(options or {}))
        except Exception as error:  # a plugin's factory may raise anything
            raise PluginError(
                f"{where}: {_shown(spec.factory)} failed: {type(error).__name__}: {error}. Its options are rollout.sampler.options"
            ) from error
        if not callable(getattr(sampler, "sample", None)):
            raise PluginError(
                f"{where}: {_shown(spec.factory)} returned {type(sampler).__name__}; expected an object with sample(requests, params)"
            )
        return sampler

    def command(self, name: str, own: Sequence[str] = ()) -> Callable[[list[str]], Any]:
        """Return the function behind a plugin's command; raises :class:`PluginError`, which suggests ``own`` ones too."""
        spec = self._find(name, self.commands, "command", own)
        return _factory(spec.function, {}, self.where("command", name))

    def suite(self, name: str, options: Mapping[str, Any] | None = None) -> TaskSuite:
        """Build the task suite of an environment; raises :class:`PluginError`."""
        spec = self.environment(name)
        suite: TaskSuite = _build(spec.suite, options or {}, self.where("environment", name))
        return suite

    def build_space_set(
        self, options: Mapping[str, Mapping[str, Any]], weights: Mapping[str, float] | None = None
    ) -> SpaceSet:
        """Build the spaces of a run.

        Args:
            options: Space → its options, in the recipe's order.
            weights: λ per space.

        Raises:
            PluginError: A space cannot be built, or two have headers of which one opens the other.
        """
        spaces = {name: self.build_space(name, opts) for name, opts in options.items()}
        try:
            return SpaceSet(spaces, dict(weights or {}))
        except ValueError as error:
            packages = ", ".join(self.where("action space", name) for name in spaces)
            raise PluginError(f"{error}. Leave one of them out of the recipe ({packages}).") from error

    def where(self, kind: str, name: str) -> str:
        """Return e.g. ``action space 'api' of crossagent-api``."""
        origin = self.origins.get((kind, name), Origin())
        return f"{kind} {name!r}" + (f" of {origin.distribution}" if origin.distribution else "")

    # -- for people ------------------------------------------------------------------------------------------------
    def listing(self) -> dict[str, list[dict[str, Any]]]:
        """Return what ``crossagent plugins --json`` prints: what each plugin brings, and failures, sorted by name."""

        def row(spec: Spec, **more: Any) -> dict[str, Any]:
            origin = self.origins.get((_KIND[type(spec)], spec.name), Origin())
            return {
                "name": spec.name,
                "version": spec.version,
                "distribution": origin.distribution,
                "distribution_version": origin.version,
                **more,
                "doc": spec.doc,
            }

        return {
            "spaces": [
                row(s, requires=list(s.requires), header=s.header) for s in sorted(self.spaces.values(), key=_name)
            ],
            "environments": [
                row(e, interfaces=list(e.interfaces), experts=sorted(e.experts))
                for e in sorted(self.environments.values(), key=_name)
            ],
            "samplers": [row(s) for s in sorted(self.samplers.values(), key=_name)],
            "commands": [row(c) for c in sorted(self.commands.values(), key=_name)],
            "failures": [
                {
                    "name": f.name,
                    "distribution": f.origin.distribution,
                    "distribution_version": f.origin.version,
                    "reason": f.reason,
                }
                for f in self.failures
            ],
        }


def check_pairing(space: ActionSpaceSpec, environment: EnvironmentSpec) -> None:
    """Raise :class:`PluginError` unless the environment offers every interface the space requires; builds nothing."""
    for interface in space.requires:
        if interface not in environment.interfaces:
            raise PluginError(
                f"action space {space.name!r} needs the interface {interface!r}, which environment "
                f"{environment.name!r} lacks (it offers {', '.join(environment.interfaces) or 'none'}). "
                f"Fix: leave spaces.{space.name} out of the recipe, or take an environment that offers {interface!r}."
            )


def clashing_header(header: str, others: Iterable[ActionSpaceSpec]) -> ActionSpaceSpec | None:
    """Return a space that cannot be told from one with ``header``: one of the two opens the other."""
    return next((o for o in others if o.header.startswith(header) or header.startswith(o.header)), None)


def load_plugins(found: Iterable[EntryPoint] | None = None, trace: list[LoadStep] | None = None) -> PluginSet:
    """Load every entry point of the group ``crossagent``.

    Args:
        found: Entry points to load instead of the installed ones, for tests.
        trace: Gets every import and every hook call.
    """
    steps = [] if trace is None else trace
    by_name: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry in entry_points(group=GROUP) if found is None else found:
        by_name[entry.name].append(entry)

    failures: list[PluginFailure] = []
    declared: dict[str, list[Spec]] = {}
    for name, entries in sorted(by_name.items()):
        if len(entries) > 1:
            owners = " and ".join(sorted(f"{_origin(e).distribution or '?'} ({e.value})" for e in entries))
            reason = f"{len(entries)} installed packages claim the plugin name {name!r}: {owners}; uninstall one"
            failures += [PluginFailure(name, _origin(e), reason) for e in entries]
            continue
        try:
            declared[name] = declarations_of(name, entries[0], steps)
        except (Exception, SystemExit) as error:  # an import may raise anything; name it and go on
            reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            failures.append(PluginFailure(name, _origin(entries[0]), reason))

    # A name that two plugins declare belongs to neither: who comes first must not depend on the order of loading.
    owners_of: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, specs in declared.items():
        for spec in specs:
            owners_of[_KIND[type(spec)], spec.name].append(name)
    plugins = PluginSet()
    for name, specs in declared.items():
        origin = _origin(by_name[name][0])
        clashes = [
            f"{kind} {spec_name!r} is also declared by "
            + " and ".join(f"{o!r} ({_origin(by_name[o][0]).distribution or '?'})" for o in owners if o != name)
            if owners.count(name) == 1
            else f"{kind} {spec_name!r} is declared twice by this plugin"
            for (kind, spec_name), owners in owners_of.items()
            if name in owners and len(owners) > 1
        ]
        if clashes:
            reason = "; ".join(clashes) + "; rename it or uninstall one package"
            failures.append(PluginFailure(name, origin, reason, tuple(spec.name for spec in specs)))
            continue
        for spec in specs:
            plugins = plugins._added(spec, origin)
    return replace(plugins, failures=tuple(sorted(failures, key=lambda f: (f.name, f.origin.distribution))))


def _build(path: str | Callable[..., Any], options: Mapping[str, Any], where: str) -> Any:
    """Return ``module:Name(**options)``; every way that can go wrong is a :class:`PluginError` naming ``where``."""
    factory = _factory(path, options, where)
    if inspect.isabstract(factory):
        lacking = ", ".join(sorted(getattr(factory, "__abstractmethods__", ())))
        raise PluginError(
            f"{where}: {_shown(path)} lacks {lacking}. Fix: define it; crossagent.plugin says what it does"
        )
    try:
        return factory(**options)
    except Unavailable as error:
        raise Unavailable(f"{where} cannot start here: {error}") from error
    except Exception as error:
        given = ", ".join(f"{k}={v!r}" for k, v in options.items())
        raise PluginError(f"{where}: {_shown(path)}({given}) failed: {type(error).__name__}: {error}") from error


def _factory(path: str | Callable[..., Any], options: Mapping[str, Any], where: str) -> Callable[..., Any]:
    """Import ``module:Name`` and check that it takes these options; calls nothing."""
    factory = _load(path, where)
    with suppress(ValueError):  # a builtin without a signature: calling it will tell
        parameters = inspect.signature(factory).parameters.values()
        known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        unknown = [option for option in options if option not in known]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise PluginError(f"{where}: unknown option {unknown[0]!r}. {did_you_mean(unknown[0], known)}")
    for option, choices in _choices(factory).items():
        if option in options and options[option] not in choices:
            expected = ", ".join(map(repr, choices))
            raise PluginError(f"{where}: option {option!r}: got {options[option]!r}; expected one of {expected}")
    return factory


def _choices(factory: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """Return option → the values that its annotation, a ``Literal``, allows."""
    try:
        hints = typing.get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except Exception:  # a plugin's annotations may be anything
        return {}
    return {name: typing.get_args(hint) for name, hint in hints.items() if typing.get_origin(hint) is typing.Literal}


def _load(path: str | Callable[..., Any], where: str) -> Callable[..., Any]:
    try:
        factory: Callable[..., Any] = resolve(path)
    except (Exception, SystemExit) as error:  # a plugin's import may raise anything
        raise PluginError(
            f"{where}: cannot load {path!r}: {type(error).__name__}: {error}. Fix: let its declaration name what is there"
        ) from error
    return factory


def _shown(factory: str | Callable[..., Any]) -> str:
    return factory if isinstance(factory, str) else getattr(factory, "__name__", repr(factory))


def _origin(entry: EntryPoint) -> Origin:
    return Origin(entry.dist.name, entry.dist.version) if entry.dist else Origin()


def _name(spec: Spec) -> str:
    return spec.name
