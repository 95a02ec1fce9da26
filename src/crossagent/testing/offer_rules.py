"""What a world offers: the rules about its interfaces, its tasks and its experts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from crossagent.import_path import resolve
from crossagent.plugin import Call, Control, ExpertStuck, Pointer, RawTick, SkillFailed, Skills
from crossagent.testing.environment_case import EnvironmentCase, whole_state

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]*")


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
        expert = resolve(path)()
        path = path if isinstance(path, str) else getattr(path, "__name__", repr(path))
        if expert.interface != interface:
            yield f"{path} has interface {expert.interface!r}; the spec says {interface!r}"
        proposals = 0
        for task in case.starts():
            before = whole_state(case.env)
            try:
                calls = expert.propose(case.env)
            except ExpertStuck as stuck:
                calls = None
                if not str(stuck):
                    yield f"{path}: ExpertStuck without a reason in {task.name!r}"
            if whole_state(case.env) != before:
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


OFFER_RULES: tuple[Callable[[EnvironmentCase], Iterator[str]], ...] = (
    control_is_well_formed,
    pointer_is_well_formed,
    skills_are_well_formed,
    tasks_are_well_formed,
    tasks_can_be_found,
    experts_propose_calls,
)
"""Every rule here, in the order in which findings are listed."""
