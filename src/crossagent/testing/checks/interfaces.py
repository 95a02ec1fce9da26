"""The interfaces of an environment: the rules about control, pointer and skills."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from crossagent.plugin import Control, Pointer, RawTick, SkillFailed, Skills
from crossagent.testing.checks.environment_case import EnvironmentCase

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


INTERFACE_RULES: tuple[Callable[[EnvironmentCase], Iterator[str]], ...] = (
    control_is_well_formed,
    pointer_is_well_formed,
    skills_are_well_formed,
)
"""Every rule here, in the order in which findings are listed."""
