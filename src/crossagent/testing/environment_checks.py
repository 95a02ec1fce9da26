"""``check_environment``: the contract of a world with its interfaces, tasks and experts, as rules."""

from __future__ import annotations

import importlib
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossagent.plugin import (
    Call,
    Control,
    Environment,
    EnvironmentSpec,
    ExpertStuck,
    Observation,
    Pointer,
    RawTick,
    SkillFailed,
    Skills,
    Task,
    TaskSuite,
)
from crossagent.testing.findings import Finding, run_rules

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]*")
_PROTOCOLS: dict[str, Any] = {"control": Control, "pointer": Pointer, "skills": Skills}
_DESCRIBED = {
    "control": ("keys", "buttons", "camera_quantum", "camera_limit"),
    "pointer": ("keys", "size"),
    "skills": ("list",),
}
"""What spaces read to write their prompts and grammars."""
_WALK = 12
"""Random interface calls between two looks at the state."""


@dataclass
class EnvironmentCase:
    """What the rules look at."""

    env: Environment
    suite: TaskSuite
    spec: EnvironmentSpec | None
    seed: int
    tasks: Sequence[Task]
    interfaces: tuple[str, ...]

    def starts(self) -> Iterator[Task]:
        """Yield each task under test, just started."""
        for task in self.tasks:
            self.env.reset(task, self.seed)
            yield task

    def walk(self, salt: int = 0, calls: int = _WALK) -> None:
        """Make the same random calls every time."""
        rng = random.Random(f"{self.seed}/{salt}")
        for _ in range(calls):
            _random_call(self.env, self.interfaces, rng)


def check_environment(
    env: Environment, suite: TaskSuite, spec: EnvironmentSpec | None = None, *, seed: int = 0, tasks: int = 6
) -> list[Finding]:
    """Check a world and its tasks.

    Args:
        env: The world, built; it is reset many times.
        suite: Its tasks.
        spec: Its declaration; adds the rules about names, interfaces and experts.
        seed: Everything drawn depends on it alone.
        tasks: Number of solvable tasks to play in, taken evenly from the suite.

    Returns:
        What is wrong, empty for a good world. Never raises for a fault of the world.
    """
    case = environment_case(env, suite, spec, seed, tasks)
    return [case] if isinstance(case, Finding) else run_rules(ENVIRONMENT_RULES, case)


def environment_case(
    env: Environment, suite: TaskSuite, spec: EnvironmentSpec | None, seed: int = 0, tasks: int = 6
) -> EnvironmentCase | Finding:
    """Return what the rules of :func:`check_environment` look at, or why there is nothing to look at."""
    try:
        solvable = [task for task in suite.tasks() if task.solvable]
    except Exception as error:
        return Finding("suite", f"tasks() raised {type(error).__name__}: {error}; it must list every task")
    if not solvable:
        return Finding("suite", "no task is solvable; list at least one Task(…, solvable=True)")
    chosen = solvable[:: max(1, len(solvable) // tasks)][:tasks]
    interfaces = spec.interfaces if spec else tuple(name for name in _PROTOCOLS if _offers(env, name))
    return EnvironmentCase(env, suite, spec, seed, chosen, interfaces)


def _offers(env: Environment, name: str) -> bool:
    try:
        env.interface(name)
    except KeyError:
        return False
    return True


def _random_call(env: Environment, interfaces: Sequence[str], rng: random.Random) -> None:
    """Make one random call of one of the standard interfaces."""
    standard = [name for name in _PROTOCOLS if name in interfaces]
    if not standard:
        return
    name = rng.choice(standard)
    if name == "control":
        control: Control = env.interface("control")
        q = control.camera_quantum
        keys = rng.sample(control.keys(), min(rng.randint(0, 1), len(control.keys())))
        buttons = rng.sample(control.buttons(), min(rng.randint(0, 1), len(control.buttons())))
        control.step(keys, buttons, (rng.randint(-3, 3) * q, rng.randint(-3, 3) * q))
    elif name == "pointer":
        pointer: Pointer = env.interface("pointer")
        rects = list(pointer.targets().values())
        x, y = rng.choice(rects).center if rects else (pointer.size[0] // 2, pointer.size[1] // 2)
        pointer.move_to(x, y)
        pointer.click("left")
    else:
        skills: Skills = env.interface("skills")
        _try_skill(env, skills, rng.choice(skills.list()).name, rng)


def _try_skill(env: Environment, skills: Skills, name: str, rng: random.Random) -> None:
    spec = next(spec for spec in skills.list() if spec.name == name)
    names = sorted(env.interface("pointer").targets()) if _offers(env, "pointer") else []
    args = [rng.randrange(10) if p.kind == "int" else rng.choice(names or ["no_such_thing"]) for p in spec.params]
    try:
        with env.tick_limit(40):
            skills.call(name, *args)
    except SkillFailed:
        pass


# -- rules: the world ------------------------------------------------------------------------------------------------
def names_agree(case: EnvironmentCase) -> Iterator[str]:
    """The world has the name its spec declares."""
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
        if name in _PROTOCOLS and not isinstance(found, _PROTOCOLS[name]):
            protocol = _PROTOCOLS[name]
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
        observation = case.env.reset(task, case.seed)
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
            future = _whole(case.env)[1:]
            case.env.restore(snapshot)
            dict(_generators_of(case.env)).get(path, generator).random()
            if case.env.state_hash() != before:
                return ""
            case.walk(salt)
            if _whole(case.env)[1:] != future:
                return task.name
            case.env.restore(snapshot)
    return ""


def _generators_of(env: Environment) -> list[tuple[str, Any]]:
    """Return (path, generator) of the random generators that the world holds, at most three attributes deep."""
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
    """Looking does not touch the world."""
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
    """A restored world has the same state, the same log and the same future, every time."""
    for task in case.starts():
        case.walk(1)
        snapshot, before = case.env.snapshot(), _whole(case.env)
        case.walk(2)
        future = _whole(case.env)
        for attempt in ("first", "second"):
            case.env.restore(snapshot)
            if _whole(case.env) != before:
                yield f"{task.name!r}: the {attempt} restore gives another state; copy what a tick changes, and call restore_episode_state()"
                break
            case.walk(2)
            if _whole(case.env) != future:
                yield f"{task.name!r}: after the {attempt} restore the same calls lead elsewhere; the snapshot lacks something hidden (a generator?)"
                break


def _whole(env: Environment) -> tuple[Any, ...]:
    return env.state_hash(), env.anchor_key(), env.observe().text, len(env.tick_log), len(env.events), env.total_reward


def over_means_no_ops(case: EnvironmentCase) -> Iterator[str]:
    """After the end, interfaces do nothing."""
    for task in case.starts():
        case.env.truncated = True
        before = _whole(case.env)
        case.walk()
        if _whole(case.env) != before:
            yield f"{task.name!r}: the world goes on after the episode is over; return at once from a tick when self.over"


def tick_limit_is_kept(case: EnvironmentCase) -> Iterator[str]:
    """Every tick begins with ``begin_tick``, so that lowering can stop it."""
    for task in case.starts():
        for name in case.interfaces:
            if name not in _PROTOCOLS:
                continue
            case.env.reset(task, case.seed)
            with case.env.tick_limit(2):
                for _ in range(6):
                    _random_call(case.env, (name,), random.Random(case.seed))
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


# -- rules: the interfaces -------------------------------------------------------------------------------------------
def control_is_well_formed(case: EnvironmentCase) -> Iterator[str]:
    """Keys and buttons are sorted names; one step is one logged tick, its camera on the quantum and within the limit."""
    if "control" not in case.interfaces:
        return
    case.env.reset(case.tasks[0], case.seed)
    control: Control = case.env.interface("control")
    q, limit = control.camera_quantum, control.camera_limit
    if not (isinstance(q, int) and isinstance(limit, int) and 0 < q <= limit and limit % q == 0):
        yield f"camera_quantum is {q!r} and camera_limit {limit!r}; expected positive integers, the limit a multiple of the quantum"
        return
    yield from _names("keys()", control.keys(), _KEY)
    yield from _names("buttons()", control.buttons(), _KEY)
    held = tuple(sorted(control.keys()[:2], reverse=True))
    control.step(held, control.buttons()[:1], (limit * 3 + q // 2, 0))
    if len(case.env.tick_log) != 1:
        yield f"one step() logged {len(case.env.tick_log)} ticks; log exactly one"
        return
    tick: RawTick = case.env.tick_log[0]
    if list(tick.keys) != sorted(held) or tuple(tick.buttons) != tuple(control.buttons()[:1]):
        yield f"step{held, control.buttons()[:1]} logged {tick!r}; log the held keys and buttons, sorted"
    if any(v % q for v in tick.camera) or abs(tick.camera[0]) > limit:
        yield f"the camera is logged as {tick.camera}; round it to multiples of {q}, at most {limit}"


def pointer_is_well_formed(case: EnvironmentCase) -> Iterator[str]:
    """The screen has a size, targets are sorted names with rectangles on it, ``move_to`` takes no tick."""
    if "pointer" not in case.interfaces:
        return
    for task in case.starts():
        pointer: Pointer = case.env.interface("pointer")
        width, height = pointer.size
        yield from _names("pointer keys()", pointer.keys(), _KEY)
        targets = pointer.targets()
        yield from _names(f"{task.name!r}: targets()", tuple(targets), _NAME)
        for name, rect in targets.items():
            x, y = rect.center
            if not (0 <= x < width and 0 <= y < height):
                yield f"{task.name!r}: the middle of target {name!r} is at {rect.center}, off the {width}x{height} screen; clip it"
        pointer.move_to(width // 2, height // 2)
        if case.env.tick_log:
            yield "move_to takes a tick; let the next click carry the movement"


def skills_are_well_formed(case: EnvironmentCase) -> Iterator[str]:
    """Skills have names, typed parameters, and fail with a reason."""
    if "skills" not in case.interfaces:
        return
    case.env.reset(case.tasks[0], case.seed)
    skills: Skills = case.env.interface("skills")
    specs = skills.list()
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        yield f"list() has a skill twice: {names}"
    for spec in specs:
        if not _NAME.fullmatch(spec.name) or not all(_NAME.fullmatch(p.name) for p in spec.params):
            yield f"skill {spec.name!r}: names are lower-case letters, digits and _, a letter first"
        if not spec.doc:
            yield f"skill {spec.name!r} has no doc; the prompt shows it: one line on what it does and why it can fail"
        case.env.reset(case.tasks[0], case.seed)
        try:
            with case.env.tick_limit(200):
                skills.call(spec.name, *(9999 if p.kind == "int" else "no_such_thing" for p in spec.params))
        except SkillFailed as failed:
            if not str(failed):
                yield f"skill {spec.name!r} fails without a reason; raise SkillFailed('…')"
        except Exception as error:
            yield f"skill {spec.name!r} raised {type(error).__name__}: {error} for an argument that makes no sense; raise SkillFailed"


def _names(where: str, names: Sequence[str], pattern: re.Pattern[str]) -> Iterator[str]:
    if list(names) != sorted(set(names)):
        yield f"{where} is {list(names)[:8]}…; return it sorted, each once"
    for name in names:
        if not pattern.fullmatch(name):
            yield f"{where} has {name!r}, which no action can name; names match {pattern.pattern}"


# -- rules: tasks and experts ----------------------------------------------------------------------------------------
def tasks_are_well_formed(case: EnvironmentCase) -> Iterator[str]:
    """Tasks have unique names, a category, an instruction, limits, and a reason when they cannot be solved."""
    tasks = list(case.suite.tasks())
    if tasks != list(case.suite.tasks()):
        yield "tasks() differs between two calls; keep a fixed order"
    seen: set[str] = set()
    for task in tasks:
        if task.name in seen:
            yield f"task {task.name!r} is there twice; give each a name of its own"
        seen.add(task.name)
        if task.env != case.env.name and case.spec and task.env != case.spec.name:
            yield f"task {task.name!r} belongs to {task.env!r}; expected {case.spec.name!r}"
        if not task.category or not task.instruction:
            yield f"task {task.name!r} lacks a category or an instruction; the table and the prompt need them"
        if task.max_turns < 1 or task.max_ticks < 1:
            yield f"task {task.name!r}: max_turns {task.max_turns} and max_ticks {task.max_ticks} must be at least 1"
        if not task.solvable and not task.reason:
            yield f"task {task.name!r} is unsolvable without a reason; say why: Task(…, solvable=False, reason='…')"
        if "ood" in task.splits and set(task.splits) & {"train", "demo"}:
            yield f"task {task.name!r} is in {task.splits}: `ood` means never trained nor demonstrated; take one of the two out"
        try:
            json.dumps(dict(task.setup))
        except (TypeError, ValueError) as error:
            yield f"task {task.name!r}: setup is no JSON ({error}); use numbers, strings, lists, dicts"


def tasks_can_be_found(case: EnvironmentCase) -> Iterator[str]:
    """``get`` returns a task by name and raises KeyError for another."""
    for task in case.suite.tasks():
        if case.suite.get(task.name) != task:
            yield f"get({task.name!r}) returns another task than tasks() lists"
    try:
        case.suite.get("no such task")
    except KeyError:
        pass
    else:
        yield "get('no such task') returns something; raise KeyError"


def experts_propose_calls(case: EnvironmentCase) -> Iterator[str]:
    """An expert proposes calls of its interface, as JSON, without touching the world; or raises ExpertStuck."""
    for interface, path in case.spec.experts.items() if case.spec else ():
        if isinstance(path, str):
            module, _, name = path.partition(":")
            expert = getattr(importlib.import_module(module), name)()
        else:
            expert, path = path(), getattr(path, "__name__", repr(path))
        if expert.interface != interface:
            yield f"{path} has interface {expert.interface!r}; the spec says {interface!r}"
        proposals = 0
        for task in case.starts():
            before = _whole(case.env)
            try:
                calls = expert.propose(case.env)
            except ExpertStuck as stuck:
                calls = None
                if not str(stuck):
                    yield f"{path}: ExpertStuck without a reason in {task.name!r}"
            if _whole(case.env) != before:
                yield f"{path}: propose changes the world in {task.name!r}; only look, or work on a snapshot"
            if calls is None:
                continue
            proposals += 1
            if not calls or not all(isinstance(c, Call) and c.interface == interface for c in calls):
                yield f"{path} proposes {calls!r} in {task.name!r}; expected at least one Call of {interface!r}"
                continue
            json.dumps([c.args for c in calls])
            for call in calls:
                with suppress(SkillFailed):
                    getattr(case.env.interface(interface), call.method)(*call.args)
        if not proposals:
            yield f"{path} is stuck at the start of all {len(case.tasks)} tasks tried; an expert must begin somewhere"


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
    control_is_well_formed,
    pointer_is_well_formed,
    skills_are_well_formed,
    tasks_are_well_formed,
    tasks_can_be_found,
    experts_propose_calls,
)
"""Every rule, in the order in which findings are listed."""
