"""The tasks of an environment and its experts: the rules about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress

from crossagent.import_path import resolve
from crossagent.plugin import Call, ExpertStuck, SkillFailed
from crossagent.testing.checks.environment_case import EnvironmentCase, whole_state


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
    """An expert proposes calls of its interface, as JSON, without touching the environment; or raises ExpertStuck."""
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


TASK_RULES: tuple[Callable[[EnvironmentCase], Iterator[str]], ...] = (
    tasks_are_well_formed,
    tasks_can_be_found,
    experts_propose_calls,
)
"""Every rule here, in the order in which findings are listed."""
