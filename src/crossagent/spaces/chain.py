"""Chain of action: an action space that composes two others. An abstract line says what is meant, an executable one does it.

    Plan: Api: goto(apple)
    Action: press(d) and click(left)

Both lines are actions as their own spaces write them. Only the second is carried out, compared and paid for; the first
conditions it, and both are trained, with weights of their own (``segment_weights``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossagent.envs.base import Environment
from crossagent.spaces.base import ActionSpace, ActionTokenizer, Executor
from crossagent.types import Action, Call, InvalidAction, Outcome

SEGMENTS = ("header", "abstract", "action")
_LARK = re.compile(r'"(?:\\.|[^"\\])*"i?|/(?:\\.|[^/\\])+/[imslux]*|//[^\n]*|[A-Za-z_][A-Za-z0-9_]*')


class ChainTokenizer(ActionTokenizer):
    """Writes and reads (abstract payload, executable payload)."""

    segment_names = SEGMENTS

    def __init__(self, name: str, header: str, abstract: ActionSpace, executable: ActionSpace) -> None:
        self._name, self._header, self._parts = name, header, (abstract, executable)

    def prompt_fragment(self, env: Environment) -> str:
        """Say that two lines are expected, and what may stand on each."""
        above, below = (part.tokenizer.prompt_fragment(env).strip() for part in self._parts)
        return (
            f"{self._header} says first what you mean, then, on a second line, does it; only the second line is carried "
            f"out. First line:\n{above}\nSecond line:\n{below}"
        )

    def special_tokens(self) -> tuple[str, ...]:
        """Return those of both spaces."""
        return tuple(dict.fromkeys(token for part in self._parts for token in part.tokenizer.special_tokens()))

    def grammar(self, env: Environment) -> str:
        """Return both grammars, their rules and terminals renamed, so that the spaces can be active beside this one."""
        above, below = self._parts
        rules = [_renamed(part.tokenizer.grammar(env), part.name, self._name) for part in self._parts]
        first, second = (f"{self._name}_{part.name}_response" for part in (above, below))
        return "\n".join([f'{self._name}_response: "{self._header} " {first} "\\n" {second}', *rules])

    def encode(self, action: Action) -> str:
        """Write the two lines."""
        above, below = (
            part.tokenizer.encode(Action(part.name, payload))
            for part, payload in zip(self._parts, action.payload, strict=True)
        )
        return f"{self._header} {above}\n{below}"

    def decode(self, text: str) -> Action | InvalidAction:
        """Read both lines; a fault in either makes the whole invalid."""
        if not text.startswith(self._header):
            return InvalidAction(f"expected {self._header!r} at the start", (0, min(len(text), len(self._header))))
        above, newline, below = text[len(self._header) :].removeprefix(" ").partition("\n")
        if not newline:
            return InvalidAction("expected a second line that does what the first one says", (0, len(text)))
        payloads = []
        for part, line, at in zip(
            self._parts, (above, below), (text.index(above), len(text) - len(below)), strict=True
        ):
            action = part.tokenizer.decode(line)
            if isinstance(action, InvalidAction):
                start, end = action.span
                return InvalidAction(action.reason, (at + start, at + end))
            payloads.append(action.payload)
        return Action(self._name, tuple(payloads))

    def segments(self, text: str) -> tuple[tuple[str, int], ...]:
        """Tell the header, the abstract line (its end included) and the executable line apart."""
        header, abstract, action = SEGMENTS
        found = ((header, 0), (abstract, len(self._header)))
        newline = text.find("\n")
        return found if newline < 0 else (*found, (action, newline + 1))


class ChainExecutor(Executor):
    """Does what the second line says."""

    def __init__(self, executable: ActionSpace) -> None:
        self._executable = executable

    def execute(self, action: Action, env: Environment) -> Outcome:
        """Execute the executable action alone."""
        return self._executable.executor.execute(Action(self._executable.name, action.payload[1]), env)


class ChainSpace(ActionSpace):
    """Composes two spaces; see this module's first lines.

    A plugin's own is a subclass that names its parts::

        class PlanSpace(ChainSpace):
            def __init__(self) -> None:
                super().__init__("plan", "Plan:", abstract=ApiSpace(), executable=ControlSpace())

    It requires what both require. Its demonstrations need experts of both: what each proposes in a state is one line.
    """

    def __init__(
        self, name: str, header: str, *, abstract: ActionSpace, executable: ActionSpace, version: str = "1"
    ) -> None:
        """Compose ``abstract`` and ``executable``.

        Raises:
            ValueError: Both are the same space.
        """
        if abstract.name == executable.name:
            raise ValueError(f"space {name!r}: got {abstract.name!r} twice; expected two spaces to compose")
        self.name, self.version, self.header = name, version, header
        self.requires = tuple(dict.fromkeys((*executable.requires, *abstract.requires)))
        self.abstract, self.executable = abstract, executable
        self.tokenizer = ChainTokenizer(name, header, abstract, executable)
        self.executor = ChainExecutor(executable)

    def cost(self, action: Action, outcome: Outcome) -> float:
        """Return the cost of the executable action; a recipe may charge for tokens besides (``cost.per_token``)."""
        return self.executable.cost(Action(self.executable.name, action.payload[1]), outcome)

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Put each executable action that the calls come to under the abstract action they begin with; none without one."""
        above = self.abstract.from_calls(calls, env)
        below = self.executable.from_calls(calls, env)
        return [Action(self.name, (above[0].payload, action.payload)) for action in below] if above else []


def _renamed(grammar: str, space: str, chain: str) -> str:
    """Prefix the rules and terminals of a space's grammar with the chain's name; literals stay."""
    prefixes = ((f"{space}_", f"{chain}_"), (f"{space.upper()}_", f"{chain.upper()}_"))

    def rename(match: re.Match[str]) -> str:
        word = match[0]
        return next((new + word for old, new in prefixes if word.startswith(old)), word)

    return _LARK.sub(rename, grammar)
