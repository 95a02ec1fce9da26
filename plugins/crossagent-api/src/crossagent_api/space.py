"""The space ``api``: one skill call a turn, e.g. ``Api: goto(cow)``. Grammar and prompt come from the world's skills."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossagent.plugin import (
    Action,
    ActionSpace,
    ActionTokenizer,
    Call,
    Environment,
    Executor,
    InvalidAction,
    Outcome,
    Param,
    SkillFailed,
    Skills,
    SkillSpec,
    carry_out,
    missing_header,
)

HEADER = "Api:"
_CALL = re.compile(r" *([a-z][a-z0-9_]*)\((.*)\)", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_INT = re.compile(r"[0-9]{1,4}")


class ApiTokenizer(ActionTokenizer):
    """Writes and reads payloads (skill, argument, …); an argument is a name or an int."""

    def prompt_fragment(self, env: Environment) -> str:
        """List the skills with their signatures."""
        skills: Skills = env.interface("skills")
        lines = [f"- {signature(spec)}" + (f": {spec.doc}" if spec.doc else "") for spec in skills.list()]
        return "\n".join([f"{HEADER} calls one skill, which runs to its end or fails with a reason. Skills:", *lines])

    def grammar(self, env: Environment) -> str:
        """Return one alternative per skill, its arguments by kind."""
        skills: Skills = env.interface("skills")
        calls = [
            f'"{spec.name}(" ' + ' ", " '.join(f"API_{p.kind.upper()}" for p in spec.params) + ' ")"'
            for spec in skills.list()
        ]
        kinds = {param.kind for spec in skills.list() for param in spec.params}
        terminals = {"name": "API_NAME: /[a-z][a-z0-9_]*/", "int": "API_INT: /0|[1-9][0-9]{0,3}/"}
        return "\n".join(
            [
                f'api_response: "{HEADER} " api_call',
                f"api_call: {' | '.join(calls)}",
                *(line for kind, line in terminals.items() if kind in kinds),
            ]
        )

    def encode(self, action: Action) -> str:
        """Write ``skill(argument, …)``."""
        skill, *args = action.payload
        return f"{HEADER} {skill}({', '.join(map(str, args))})"

    def decode(self, text: str) -> Action | InvalidAction:
        """Read a call; whether the world has such a skill is found out when it is called."""
        if (wrong := missing_header(text, HEADER)) is not None:
            return wrong
        end = len(text.rstrip())
        call = _CALL.fullmatch(text, len(HEADER), end)
        if not call:
            return InvalidAction("expected skill(argument, …)", (min(len(HEADER), end), end))
        args: list[str | int] = []
        for arg in call[2].split(",") if call[2].strip() else ():
            arg = arg.strip(" ")
            if not _NAME.fullmatch(arg) and not _INT.fullmatch(arg):
                return InvalidAction(f"argument {arg!r} is neither a name nor a number up to 9999", call.span(2))
            args.append(int(arg) if _INT.fullmatch(arg) else arg)
        return Action("api", (call[1], *args))


class ApiExecutor(Executor):
    """Calls the skill, and stops it when it takes too long."""

    def __init__(self, max_ticks: int) -> None:
        self._max_ticks = max_ticks

    def execute(self, action: Action, env: Environment) -> Outcome:
        """Run the skill to its end, its failure or the limit."""
        skills: Skills = env.interface("skills")
        name, *args = action.payload

        def act() -> None:
            check(skills.list(), name, args)
            returned = False
            with env.tick_limit(self._max_ticks):
                skills.call(name, *args)
                returned = True
            if not returned:
                raise SkillFailed(f"stopped after {self._max_ticks} ticks")

        return carry_out(env, act)


class ApiSpace(ActionSpace):
    """Skills by name.

    Cost of an action: ``turn_cost`` + ``tick_cost`` per tick (1/20: the seconds the world went on). A call is dearer
    than a turn of the other spaces because a planner runs behind it.

    Args:
        turn_cost: Per call.
        tick_cost: Per tick of world time.
        max_ticks: A skill that takes longer is stopped.
    """

    name, version, requires, header = "api", "1", ("skills",), HEADER

    def __init__(self, turn_cost: float = 1.0, tick_cost: float = 0.05, max_ticks: int = 240) -> None:
        if max_ticks < 1:
            raise ValueError(f"max_ticks: got {max_ticks}; expected at least 1")
        self._turn_cost, self._tick_cost = turn_cost, tick_cost
        self.tokenizer, self.executor = ApiTokenizer(), ApiExecutor(max_ticks)

    def cost(self, action: Action, outcome: Outcome) -> float:
        """Return seconds: the call's price and the time it took."""
        return self._turn_cost + self._tick_cost * outcome.ticks

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Turn each recorded skill call into an action."""
        return [
            Action(self.name, tuple(call.args))
            for call in calls
            if (call.interface, call.method) == ("skills", "call") and call.args
        ]


def signature(spec: SkillSpec) -> str:
    """Return e.g. ``craft(item: name, count: int)``."""
    return f"{spec.name}({', '.join(f'{p.name}: {p.kind}' for p in spec.params)})"


def check(specs: Sequence[SkillSpec], name: str, args: Sequence[str | int]) -> None:
    """Raise :class:`SkillFailed` unless there is such a skill and the arguments have its parameters' kinds."""
    spec = next((spec for spec in specs if spec.name == name), None)
    if spec is None:
        raise SkillFailed(f"no skill {name}")
    if len(args) != len(spec.params) or not all(map(_fits, spec.params, args)):
        raise SkillFailed(f"expected {signature(spec)}")


def _fits(param: Param, arg: str | int) -> bool:
    return isinstance(arg, int) if param.kind == "int" else isinstance(arg, str)
