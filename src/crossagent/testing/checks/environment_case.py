"""What the rules of an environment look at: its tasks just started, and the same random calls every time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crossagent.plugin import Control, Environment, EnvironmentSpec, Pointer, SkillFailed, Skills, Task, TaskSuite
from crossagent.testing.checks.findings import Finding

PROTOCOLS: dict[str, Any] = {"control": Control, "pointer": Pointer, "skills": Skills}
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
            random_call(self.env, self.interfaces, rng)


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
    interfaces = spec.interfaces if spec else tuple(name for name in PROTOCOLS if _offers(env, name))
    return EnvironmentCase(env, suite, spec, seed, chosen, interfaces)


def _offers(env: Environment, name: str) -> bool:
    try:
        env.interface(name)
    except KeyError:
        return False
    return True


def random_call(env: Environment, interfaces: Sequence[str], rng: random.Random) -> None:
    """Make one random call of one of the standard interfaces."""
    standard = [name for name in PROTOCOLS if name in interfaces]
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


def whole_state(env: Environment) -> tuple[Any, ...]:
    """Return all that two equal states have in common; the hash comes first."""
    return env.state_hash(), env.anchor_key(), env.observe().text, len(env.tick_log), len(env.events), env.total_reward
