"""``check_environment``: the contract of an environment: that it resets, ends, and can be put back exactly."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from crossagent.plugin import Control, Environment, EnvironmentSpec, Observation, TaskSuite
from crossagent.testing.checks.environment_case import (
    PROTOCOLS,
    EnvironmentCase,
    environment_case,
    random_call,
    whole_state,
)
from crossagent.testing.checks.findings import Finding, run_rules
from crossagent.testing.checks.interfaces import INTERFACE_RULES
from crossagent.testing.checks.tasks import TASK_RULES


def check_environment(
    env: Environment, suite: TaskSuite, spec: EnvironmentSpec | None = None, *, seed: int = 0, tasks: int = 6
) -> list[Finding]:
    """Check an environment and its tasks.

    Args:
        env: The environment, built; it is reset many times.
        suite: Its tasks.
        spec: Its declaration; adds the rules about names, interfaces and experts.
        seed: Everything drawn depends on it alone.
        tasks: Number of solvable tasks to play in, taken evenly from the suite.

    Returns:
        What is wrong, empty for a good environment. Never raises for a fault of the environment.
    """
    case = environment_case(env, suite, spec, seed, tasks)
    return [case] if isinstance(case, Finding) else run_rules(ENVIRONMENT_RULES, case)


_DESCRIBED = {
    "control": ("keys", "buttons", "camera_quantum", "camera_limit"),
    "pointer": ("keys", "size"),
    "skills": ("list",),
}
"""What spaces read to write their prompts and grammars."""


def names_agree(case: EnvironmentCase) -> Iterator[str]:
    """The environment has the name its spec declares."""
    if case.spec and case.env.name != case.spec.name:
        yield f"name is {case.env.name!r}, the spec declares {case.spec.name!r}; make them equal"


def interfaces_are_there(case: EnvironmentCase) -> Iterator[str]:
    """Every declared interface exists, has the methods of its protocol and can be described before the first reset."""
    for name in case.interfaces:
        try:
            found = case.env.interface(name)
        except KeyError:
            yield f"the spec declares the interface {name!r}, but interface({name!r}) raises KeyError; offer it or leave it out"
            continue
        if name in PROTOCOLS and not isinstance(found, PROTOCOLS[name]):
            protocol = PROTOCOLS[name]
            members = [m for m in (*vars(protocol), *protocol.__annotations__) if not m.startswith("_")]
            missing = sorted(m for m in members if not hasattr(found, m))
            yield f"the interface {name!r} lacks {', '.join(missing)}; see {protocol.__name__} in crossagent.plugin"
        elif name in _DESCRIBED:
            for member in _DESCRIBED[name]:
                try:
                    value = getattr(found, member)
                    _ = value() if callable(value) else value
                except Exception as error:
                    yield f"{name}.{member} raised {type(error).__name__}: {error} before the first reset; prompts are made then"
    try:
        case.env.interface("no_such_interface")
    except KeyError:
        pass
    else:
        yield "interface('no_such_interface') returns something; raise KeyError"


def reset_starts_afresh(case: EnvironmentCase) -> Iterator[str]:
    """A new episode is not over and has an empty log."""
    for task in case.starts():
        case.walk()
        observation: Any = case.env.reset(task, case.seed)
        if not isinstance(observation, Observation):
            yield f"reset({task.name!r}) returned {type(observation).__name__}; return an Observation"
        if case.env.over or case.env.tick_log or case.env.events or case.env.total_reward or case.env.success:
            yield f"after reset({task.name!r}) something of the last episode is left; call self.begin_episode() first"


def same_seed_same_state(case: EnvironmentCase) -> Iterator[str]:
    """Equal (task, seed) gives an equal state, whatever was played before and whatever the global generators are."""
    for task in case.starts():
        first, text = case.env.state_hash(), case.env.observe().text
        case.walk()
        random.seed(12345)
        np.random.seed(12345)
        case.env.reset(task, case.seed)
        if case.env.state_hash() != first or case.env.observe().text != text:
            yield f"reset({task.name!r}, {case.seed}) gives two different states; seed everything from (task, seed) in reset"


def seeds_matter(case: EnvironmentCase) -> Iterator[str]:
    """Another seed gives another state in at least one task."""
    for task in case.starts():
        first = case.env.state_hash()
        for other in range(1, 4):
            case.env.reset(task, case.seed + other)
            if case.env.state_hash() != first:
                return
    yield "state_hash is the same for all seeds; let the seed vary the start, and hash the generator's state"


def world_is_deterministic(case: EnvironmentCase) -> Iterator[str]:
    """The same calls lead to the same state, and leave the global generators alone."""
    for task in case.starts():
        case.walk()
        first = case.env.state_hash()
        random.seed(54321)
        np.random.seed(54321)
        before = _global_generators()
        case.env.reset(task, case.seed)
        case.walk()
        if case.env.state_hash() != first:
            yield f"{task.name!r}: the same calls lead to two states; draw from a generator of the world, iterate over no sets"
        if _global_generators() != before:
            yield f"{task.name!r}: the world draws from the global random generator; give it one of its own"


def _global_generators() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), kind, np.asarray(keys).tobytes(), *rest


def hash_follows_state(case: EnvironmentCase) -> Iterator[str]:
    """The hash changes when something happens (the clock and the log are part of the state)."""
    for task in case.starts():
        first = case.env.state_hash()
        case.walk()
        if case.env.tick_log and case.env.state_hash() == first:
            yield f"{task.name!r}: state_hash did not change in {len(case.env.tick_log)} ticks; hash everything, episode_state() included"


def hash_sees_generators(case: EnvironmentCase) -> Iterator[str]:
    """The hash tells two states apart that differ in a random generator, where that leads to another future."""
    case.env.reset(case.tasks[0], case.seed)
    for path in [path for path, _ in _generators_of(case.env)]:
        if unseen := _first_unseen_draw(case, path):
            yield (
                f"{unseen!r}: state_hash is the same after env.{path} has drawn a number, and the future is another; "
                f"hash env.{path}.getstate() too (numpy: bit_generator.state)"
            )


def _first_unseen_draw(case: EnvironmentCase, path: str) -> str:
    """Return the first task in which a draw of this generator changes the future and not the hash; empty: none."""
    for task in case.starts():
        for salt in range(3, 11):  # a draw may matter seldom
            generator = dict(_generators_of(case.env)).get(path)
            if generator is None:
                break
            before, snapshot = case.env.state_hash(), case.env.snapshot()
            case.walk(salt)
            future = whole_state(case.env)[1:]
            case.env.restore(snapshot)
            dict(_generators_of(case.env)).get(path, generator).random()
            if case.env.state_hash() != before:
                return ""
            case.walk(salt)
            if whole_state(case.env)[1:] != future:
                return task.name
            case.env.restore(snapshot)
    return ""


def _generators_of(env: Environment) -> list[tuple[str, Any]]:
    """Return (path, generator) of the random generators that the environment holds, at most three attributes deep."""
    found: list[tuple[str, Any]] = []
    seen: set[int] = set()
    level: list[tuple[str, Any]] = list(vars(env).items())
    for _ in range(3):
        deeper: list[tuple[str, Any]] = []
        for path, value in level:
            if id(value) in seen or isinstance(value, Environment):
                continue
            seen.add(id(value))
            if isinstance(value, (random.Random, np.random.Generator)):
                found.append((path, value))
            elif hasattr(value, "__dict__") and not isinstance(value, type):
                deeper += [(f"{path}.{name}", inner) for name, inner in vars(value).items()]
        level = deeper
    return found


def observing_changes_nothing(case: EnvironmentCase) -> Iterator[str]:
    """Looking does not touch the environment."""
    for task in case.starts():
        case.walk()
        before = case.env.state_hash()
        first = case.env.observe().text
        case.env.anchor_key()
        if case.env.observe().text != first:
            yield f"{task.name!r}: two looks at one state differ"
        if case.env.state_hash() != before:
            yield f"{task.name!r}: observe() or anchor_key() changes the state; compute, do not store"


def snapshot_is_exact(case: EnvironmentCase) -> Iterator[str]:
    """A restored environment has the same state, the same log and the same future, every time."""
    for task in case.starts():
        case.walk(1)
        snapshot, before = case.env.snapshot(), whole_state(case.env)
        case.walk(2)
        future = whole_state(case.env)
        for attempt in ("first", "second"):
            case.env.restore(snapshot)
            if whole_state(case.env) != before:
                yield f"{task.name!r}: the {attempt} restore gives another state; copy what a tick changes, and call restore_episode_state()"
                break
            case.walk(2)
            if whole_state(case.env) != future:
                yield f"{task.name!r}: after the {attempt} restore the same calls lead elsewhere; the snapshot lacks something hidden (a generator?)"
                break


def over_means_no_ops(case: EnvironmentCase) -> Iterator[str]:
    """After the end, interfaces do nothing."""
    for task in case.starts():
        case.env.truncated = True
        before = whole_state(case.env)
        case.walk()
        if whole_state(case.env) != before:
            yield f"{task.name!r}: the world goes on after the episode is over; return at once from a tick when self.over"


def tick_limit_is_kept(case: EnvironmentCase) -> Iterator[str]:
    """Every tick begins with ``begin_tick``, so that lowering can stop it."""
    for task in case.starts():
        for name in case.interfaces:
            if name not in PROTOCOLS:
                continue
            case.env.reset(task, case.seed)
            with case.env.tick_limit(2):
                for _ in range(6):
                    random_call(case.env, (name,), random.Random(case.seed))
            if len(case.env.tick_log) > 2:
                yield f"{name}: {len(case.env.tick_log)} ticks within tick_limit(2); call begin_tick first in each tick and let TickLimit pass"


def time_runs_out(case: EnvironmentCase) -> Iterator[str]:
    """The task's tick limit truncates the episode."""
    if "control" not in case.interfaces:
        return
    for task in case.starts():
        control: Control = case.env.interface("control")
        for _ in range(task.max_ticks + 5):
            control.step()
        if not case.env.over:
            yield f"{task.name!r}: not over after {task.max_ticks + 5} idle ticks; set truncated at max_ticks ({task.max_ticks})"
        if len(case.env.tick_log) > task.max_ticks:
            yield f"{task.name!r}: {len(case.env.tick_log)} ticks were played; the limit is {task.max_ticks}"


ENVIRONMENT_RULES: tuple[Callable[[EnvironmentCase], Iterator[str]], ...] = (
    names_agree,
    interfaces_are_there,
    reset_starts_afresh,
    same_seed_same_state,
    seeds_matter,
    world_is_deterministic,
    hash_follows_state,
    hash_sees_generators,
    observing_changes_nothing,
    snapshot_is_exact,
    over_means_no_ops,
    tick_limit_is_kept,
    time_runs_out,
    *INTERFACE_RULES,
    *TASK_RULES,
)
"""Every rule here, in the order in which findings are listed."""
