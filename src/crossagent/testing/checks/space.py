"""``check_action_space``: the contract of an action space, as rules that a plugin's own tests and ours run."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from crossagent.plugin import (
    ActionSpace,
    ActionTokenizer,
    Call,
    Environment,
    Executor,
    Outcome,
    RawTick,
    Task,
)
from crossagent.testing.checks.findings import Finding, run_rules
from crossagent.testing.checks.grammar import TEXT_RULES
from crossagent.testing.checks.space_case import SpaceCase
from crossagent.testing.recorder import Recorder, each_interface


def check_action_space(
    space: ActionSpace, env: Environment, tasks: Task | Sequence[Task], *, seed: int = 0, examples: int = 60
) -> list[Finding]:
    """Check a space on an environment that offers what it requires.

    Args:
        space: The space, built.
        env: An environment; it is reset many times.
        tasks: Tasks of that environment to try the actions in.
        seed: Everything drawn depends on it alone.
        examples: Number of texts drawn from the grammar.

    Returns:
        What is wrong, empty for a good space. Never raises for a fault of the space.
    """
    tasks = [tasks] if isinstance(tasks, Task) else list(tasks)
    return run_rules(SPACE_RULES, SpaceCase(space, env, tasks, seed, examples))


def declaration(case: SpaceCase) -> Iterator[str]:
    """A space has name, version, requires, header, tokenizer and executor."""
    space: Any = case.space
    if not re.fullmatch(r"[a-z][a-z0-9_]*", space.name):
        yield f"name is {space.name!r}; write it in lower-case letters, digits and _, a letter first"
    if not isinstance(space.version, str):
        yield f"version is {space.version!r}; make it a string such as '1'"
    if isinstance(space.requires, str) or not all(isinstance(i, str) for i in space.requires):
        yield f"requires is {space.requires!r}; make it a tuple of interface names, e.g. ('control',)"
    if not isinstance(space.tokenizer, ActionTokenizer):
        yield f"tokenizer is a {type(space.tokenizer).__name__}; derive it from ActionTokenizer"
    if not isinstance(space.executor, Executor):
        yield f"executor is a {type(space.executor).__name__}; derive it from Executor"


def interfaces_offered(case: SpaceCase) -> Iterator[str]:
    """The environment offers every interface the space requires."""
    for name in case.space.requires:
        try:
            case.env.interface(name)
        except KeyError:
            yield f"{case.env.name!r} offers no interface {name!r}; check the space on a world that does"


def interfaces_required(case: SpaceCase) -> Iterator[str]:
    """The space uses no interface that it does not require: another environment may lack it."""
    undeclared: set[str] = set()

    def only_required(name: str, interface: Any) -> Any:
        if name not in case.space.requires:
            undeclared.add(name)
            raise KeyError(name)
        return interface

    def use(what: str, act: Callable[[], Any]) -> Iterator[str]:
        undeclared.clear()
        try:
            act()
        except Exception:  # what it raises where everything is there, other rules report
            for name in sorted(undeclared):
                yield (
                    f"{what} needs the interface {name!r}, which requires = {case.space.requires!r} does not list; add it "
                    "there and in the spec"
                )

    tokenizer = case.space.tokenizer
    case.env.reset(case.tasks[0], case.seed)
    with each_interface(case.env, only_required):
        yield from use("prompt_fragment", lambda: tokenizer.prompt_fragment(case.env))
        yield from use("grammar", lambda: tokenizer.grammar(case.env))
    for text, action in case.situations():
        with each_interface(case.env, only_required):
            yield from use(f"executing {text!r}", lambda action=action: case.space.executor.execute(action, case.env))  # type: ignore[misc]


def execution(case: SpaceCase) -> Iterator[str]:
    """Executing returns an outcome that agrees with the environment's log, and never raises for a valid action."""
    for text, action in chain(case.situations(), case.absurdities()):
        start = len(case.env.tick_log)
        try:
            outcome: Any = case.space.executor.execute(action, case.env)
        except Exception as error:
            yield (
                f"executing {text!r} raised {type(error).__name__}: {error}; an action that cannot be done is an outcome "
                "with error: run it in carry_out and raise SkillFailed"
            )
            continue
        if not isinstance(outcome, Outcome):
            yield f"executing {text!r} returned {type(outcome).__name__}; return carry_out(env, act)"
        elif outcome.ticks != len(case.env.tick_log) - start:
            yield f"executing {text!r} reports {outcome.ticks} ticks, the world logged {len(case.env.tick_log) - start}; use carry_out"
        elif not math.isfinite(outcome.reward):
            yield f"executing {text!r} gives the reward {outcome.reward}; let the world give finite rewards"


def execution_is_bounded(case: SpaceCase) -> Iterator[str]:
    """An action ends, within the task's ticks, also when the episode does."""
    for text, action in case.situations():
        limit = len(case.env.tick_log) + _max_ticks(case)
        with case.env.tick_limit(limit + 1):
            case.space.executor.execute(action, case.env)
        if len(case.env.tick_log) > limit:
            yield f"{text!r} takes more than {limit} ticks; give the executor a limit of its own"


def over_is_over(case: SpaceCase) -> Iterator[str]:
    """After the end of an episode an action does nothing."""
    for text, action in case.situations():
        case.env.truncated = True
        before = case.env.state_hash()
        outcome = case.space.executor.execute(action, case.env)
        if outcome.ticks or case.env.state_hash() != before:
            yield f"{text!r} still does something in an episode that is over; stop at env.over"


def execution_is_deterministic(case: SpaceCase) -> Iterator[str]:
    """From one state, an action leads to one state."""
    for text, action in case.situations():
        before = case.env.snapshot()
        case.space.executor.execute(action, case.env)
        first = case.env.state_hash()
        case.env.restore(before)
        random.random()
        case.space.executor.execute(action, case.env)
        if case.env.state_hash() != first:
            yield f"{text!r} leads to two different states from one; draw from the world's generator, never a global one"


def cost(case: SpaceCase) -> Iterator[str]:
    """A cost is a finite number, at least 0, and depends on the action and its outcome alone."""
    for text, action in case.situations():
        outcome = case.space.executor.execute(action, case.env)
        value: Any = case.space.cost(action, outcome)
        if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            yield f"the cost of {text!r} is {value!r}; return a finite number ≥ 0"
        elif (again := case.space.cost(action, outcome)) != value:
            yield f"the cost of {text!r} is {value!r}, then {again!r} for the same outcome; keep no state between calls"


def lowering(case: SpaceCase) -> Iterator[str]:
    """Lowering restores the environment, is repeatable, and a longer horizon only adds ticks."""
    for text, action in case.situations():
        before = (case.env.state_hash(), len(case.env.tick_log))
        short, long = case.space.lower(action, case.env, 1), case.space.lower(action, case.env, 4)
        if (case.env.state_hash(), len(case.env.tick_log)) != before:
            yield f"lowering {text!r} changes the world; let env.restore(snapshot) bring everything back"
        if len(long) > 4 or not all(isinstance(tick, RawTick) for tick in long):
            yield f"lowering {text!r} gives {long!r}; expected at most 4 RawTicks"
        elif case.space.lower(action, case.env, 4) != long:
            yield f"lowering {text!r} twice gives two results; execution must be deterministic"
        elif short != tuple(tick for tick in long[:1] if not tick.is_noop):
            yield f"lowering {text!r} gives {short!r} for one tick, but {long!r} for four; the first must agree"


def calls_become_actions(case: SpaceCase) -> Iterator[str]:
    """``from_calls`` reads what an executor does, ignores what it cannot express, and gives only canonical actions."""
    case.env.reset(case.tasks[0], case.seed)
    for calls in ([], [Call("no_such_interface", "do", (1,))]):
        found: Any = None
        try:
            found = case.space.from_calls(calls, case.env)
        except Exception as error:
            found = f"raised {type(error).__name__}: {error}"
        if found != []:
            yield f"from_calls({calls!r}): {found}; expected []: leave out what the space cannot express, such as calls of other interfaces"
    calls = (
        [Call("control", "step", ((k,), (b,), (0, 0))) for k, b in _keys_and_buttons(case)]
        if "control" in case.space.requires
        else []
    )
    yield from _read(case, calls)
    recorded: list[Call] = []
    understood = 0
    for _, action in case.situations():
        before, calls = case.env.snapshot(), []
        with suppress(Exception), each_interface(case.env, lambda name, it, calls=calls: Recorder(name, it, calls)):  # type: ignore[misc]
            case.space.executor.execute(action, case.env)
        case.env.restore(before)
        if calls:
            recorded += calls
            yield from _read(case, calls)
            with suppress(Exception):  # _read has reported it
                understood += len(case.space.from_calls(calls, case.env))
    # A space that composes others may need calls of each interface it requires; its executor alone need not make them.
    if recorded and not understood and set(case.space.requires) <= {call.interface for call in recorded}:
        yield (
            f"from_calls makes no action of any of {len(recorded)} calls that the executor itself made, e.g. {recorded[0]!r}; "
            "the space would get no demonstrations: turn such calls back into actions"
        )


def _read(case: SpaceCase, calls: Sequence[Call]) -> Iterator[str]:
    """Check what ``from_calls`` makes of these calls."""
    try:
        actions = case.space.from_calls(calls, case.env)
    except Exception as error:
        shown = f"{calls[:2]!r}{'…' if len(calls) > 2 else ''}"
        yield f"from_calls raised {type(error).__name__}: {error} for {shown}; leave out what the space cannot express"
        return
    for action in actions:
        text = case.space.tokenizer.encode(action)
        if case.space.tokenizer.decode(text) != action:
            yield f"from_calls gives {action!r}, written {text!r}, which decodes to another action; normalise it there"
        elif not case.sampler.parses(text):
            yield f"from_calls gives {text!r}, which the grammar does not accept; leave it out, or let the grammar generate it"


def _max_ticks(case: SpaceCase) -> int:
    return max(task.max_ticks for task in case.tasks)


def _keys_and_buttons(case: SpaceCase) -> list[tuple[str, str]]:
    control = case.env.interface("control")
    return [(key, button) for key in control.keys() for button in control.buttons()]  # noqa: SIM118 - no dict


SPACE_RULES: tuple[Callable[[SpaceCase], Iterator[str]], ...] = (
    declaration,
    interfaces_offered,
    *TEXT_RULES,
    execution,
    interfaces_required,
    execution_is_bounded,
    over_is_over,
    execution_is_deterministic,
    cost,
    lowering,
    calls_become_actions,
)
"""Every rule, in the order in which findings are listed."""
