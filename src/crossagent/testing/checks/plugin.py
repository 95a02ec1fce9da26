"""``check_plugin``: everything that can be checked about an installed space or environment, by its name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from crossagent.errors import CrossAgentError, PluginError, did_you_mean
from crossagent.plugin import ActionSpaceSpec, EnvironmentSpec, Unavailable
from crossagent.registry.plugin_set import PluginSet, check_pairing, clashing_header
from crossagent.testing.checks.environment import check_environment
from crossagent.testing.checks.findings import Finding
from crossagent.testing.checks.space import check_action_space
from crossagent.testing.checks.space_case import some_tasks
from crossagent.testing.toy import toy_environment


def check_plugin(
    plugins: PluginSet,
    name: str,
    environment: str | None = None,
    left_out: list[str] | None = None,
    begins: Callable[[str], None] = lambda environment: None,
) -> list[Finding]:
    """Check a space (on ``environment``, by default on every one that offers what it requires) or an environment.

    Args:
        plugins: What is installed.
        name: Of the space or the environment.
        environment: The one to check a space on.
        left_out: Gets, of the environments nobody asked for, those that cannot start on this machine, with the reason.
        begins: Told the name of each environment before a space is checked on it, which may take minutes.

    Raises:
        PluginError: There is no such plugin, it cannot be built, or no environment offers what the space requires.
        Unavailable: The environment that was asked for cannot start on this machine.
    """
    if name in plugins.environments:
        with closing(plugins.build_environment(name)) as env:
            return check_environment(env, plugins.suite(name), plugins.environment(name))
    _refuse_what_cannot_be_checked(plugins, name)
    spec_of_space = plugins.space(name)
    if environment is None:
        plugins = plugins if "toy" in plugins.environments else plugins.with_(environment=toy_environment())
        names = [e.name for e in plugins.environments.values() if _fits(spec_of_space, e)]
        if not names:
            offered = sorted({i for e in plugins.environments.values() for i in e.interfaces})
            missing = next((i for i in spec_of_space.requires if i not in offered), None)
            near = f" {did_you_mean(missing, offered)}" if missing else ""
            raise PluginError(
                f"no installed environment offers all of {list(spec_of_space.requires)}, which action space {name!r} "
                f"requires; offered are {offered}.{near} Fix: correct `requires`, install an environment that offers it, or "
                "check the space in a world of yours with crossagent.testing.check_action_space."
            )
    else:
        check_pairing(spec_of_space, plugins.environment(environment))
        names = [environment]
    findings = []
    others = [
        other
        for other in plugins.spaces.values()
        if other.name != name and name not in other.instead_of and other.name not in spec_of_space.instead_of
    ]
    if clash := clashing_header(spec_of_space.header, others):
        findings.append(
            Finding(
                "header",
                f"{spec_of_space.header!r} and {clash.header!r} of the installed space {clash.name!r} open one another, so "
                "the two cannot be in one recipe; take another header",
            )
        )
    for env_name in names:
        begins(env_name)
        space, suite = plugins.build_space(name), plugins.suite(env_name)
        try:
            with closing(plugins.build_environment(env_name)) as env:
                found = check_action_space(space, env, some_tasks(suite))
        except Unavailable as error:
            if environment is not None:
                raise
            if left_out is not None:
                left_out.append(str(error))
            continue
        findings += [Finding(f"{f.rule} (on {env_name})", f.message) for f in found]
    return findings


def _refuse_what_cannot_be_checked(plugins: PluginSet, name: str) -> None:
    """Raise :class:`PluginError` for a name that is neither of a space nor of an environment, nor of a broken plugin."""
    if name in plugins.spaces or any(name == failure.name or name in failure.declares for failure in plugins.failures):
        return
    if name in plugins.samplers:
        raise PluginError(
            f"{plugins.where('sampler', name)} needs a policy, so only a test can check it. Fix: write a SamplerContract of "
            "crossagent.testing for it (docs/guides/sampler.md)"
        )
    if name in plugins.commands:
        raise PluginError(f"{plugins.where('command', name)} has no contract to check; a test that runs it is enough")
    known = [*plugins.spaces, *plugins.environments]
    broken = f" Installed, but broken: {'; '.join(map(str, plugins.failures))}." if plugins.failures else ""
    raise PluginError(f"no action space or environment is called {name!r}. {did_you_mean(name, known)}{broken}")


def _fits(space: ActionSpaceSpec, environment: EnvironmentSpec) -> bool:
    try:
        check_pairing(space, environment)
    except CrossAgentError:
        return False
    return True
