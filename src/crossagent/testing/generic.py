"""A space made of a table, for tests of what is above a space: each word is written, and does what its calls say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossagent.plugin import (
    Action,
    ActionSpace,
    ActionTokenizer,
    Call,
    Environment,
    Executor,
    InvalidAction,
    Outcome,
    carry_out,
)


class GenericSpace(ActionSpace):
    """A space with a fixed list of actions, e.g. ``Walk: west``.

    Args:
        name: Of the space.
        words: word → the interface calls that it stands for; words match ``[a-z]+``.
        header: What responses open with; empty: ``Walk:`` for ``walk``.
        cost: Of every action.
    """

    version = "1"

    def __init__(self, name: str, words: Mapping[str, Sequence[Call]], header: str = "", cost: float = 1.0) -> None:
        self.name, self.header = name, header or f"{name.capitalize()}:"
        self.requires = tuple(sorted({call.interface for calls in words.values() for call in calls}))
        self.tokenizer, self.executor = _Words(self), _Calls(self)
        self.words = {word: tuple(calls) for word, calls in words.items()}
        self._cost = cost

    def cost(self, action: Action, outcome: Outcome) -> float:
        """Return what every action costs."""
        return self._cost

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Return the words whose calls open what is left, one after another; a call that opens none is left out."""
        left, actions = list(calls), []
        while left:
            found = next((w for w, own in self.words.items() if own and tuple(left[: len(own)]) == own), None)
            if found:
                actions.append(Action(self.name, found))
            del left[: len(self.words[found]) if found else 1]
        return actions


class _Words(ActionTokenizer):
    def __init__(self, space: GenericSpace) -> None:
        self._space = space

    def prompt_fragment(self, env: Environment) -> str:
        return f"{self._space.header} {' | '.join(self._space.words)}"

    def grammar(self, env: Environment) -> str:
        words = " | ".join(f'"{word}"' for word in self._space.words)
        return f'{self._space.name}_response: "{self._space.header} " ({words})'

    def encode(self, action: Action) -> str:
        return f"{self._space.header} {action.payload}"

    def decode(self, text: str) -> Action | InvalidAction:
        head, word = text[: len(self._space.header) + 1], text[len(self._space.header) + 1 :]
        if head == f"{self._space.header} " and word in self._space.words:
            return Action(self._space.name, word)
        return InvalidAction(f"expected {self._space.header} and one of {', '.join(self._space.words)}", (0, len(text)))


class _Calls(Executor):
    def __init__(self, space: GenericSpace) -> None:
        self._space = space

    def execute(self, action: Action, env: Environment) -> Outcome:
        def act() -> None:
            for call in self._space.words[action.payload]:
                if env.over:
                    return
                getattr(env.interface(call.interface), call.method)(*call.args)

        return carry_out(env, act)
