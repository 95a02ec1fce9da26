"""What the rules of an action space look at: texts of its grammar, and actions in states of an environment."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from crossagent.plugin import Action, ActionSpace, Environment, InvalidAction, Task, TaskSuite
from crossagent.testing.checks.findings import Unchecked
from crossagent.testing.grammars import GrammarSampler


@dataclass
class SpaceCase:
    """What the rules look at."""

    space: ActionSpace
    env: Environment
    tasks: Sequence[Task]
    seed: int
    examples: int
    texts: list[str] = field(default_factory=list)

    @cached_property
    def sampler(self) -> GrammarSampler:
        """The space's grammar; raises :class:`Unchecked` when it is none."""
        try:
            return self.load_grammar()
        except Exception as error:
            raise Unchecked("the grammar does not load; grammar_parses says why") from error

    def load_grammar(self) -> GrammarSampler:
        """Load the space's grammar; raises what Lark says of it."""
        self.env.reset(self.tasks[0], self.seed)
        return GrammarSampler(self.space.tokenizer.grammar(self.env), f"{self.space.name}_response")

    def sample(self) -> list[str]:
        """Return texts of the grammar; the same ones in every rule."""
        if not self.texts:
            rng = random.Random(self.seed)
            self.texts = list(dict.fromkeys(self.sampler.sample(rng) for _ in range(self.examples)))
        return self.texts

    def actions(self) -> Iterator[tuple[str, Action]]:
        """Yield each text with the action it decodes to; what does not decode is another rule's finding."""
        for text in self.sample():
            action = self.space.tokenizer.decode(text)
            if isinstance(action, Action):
                yield text, action

    def situations(self) -> Iterator[tuple[str, Action]]:
        """Yield actions, each in a state of its own: one of the tasks after up to two other actions.

        The actions speak of what is there: names on the screen, in the observation and in the instruction.
        """
        rng = random.Random(f"{self.seed}/situations")
        for i in range(self.examples):
            task = self.tasks[i % len(self.tasks)]
            self.env.reset(task, self.seed + i)
            for _ in range(i % 3):
                before = self._draw(task, rng)
                with suppress(Exception):  # the rule `execution` reports it
                    if isinstance(before[1], Action):
                        self.space.executor.execute(before[1], self.env)
            if self.env.over:
                self.env.reset(task, self.seed + i)
            text, action = self._draw(task, rng)
            if isinstance(action, Action):
                yield text, action

    def absurdities(self) -> Iterator[tuple[str, Action]]:
        """Yield actions that decode accepts and the grammar may not generate: a model writes those too."""
        for i, text in enumerate(self.sample()[: self.examples // 3]):
            head, body = text[: len(self.space.header)], text[len(self.space.header) :]
            for word in dict.fromkeys(re.findall(r"[A-Za-z0-9_.]+", body)):
                for other in ("nonsense", "7"):
                    changed = head + re.sub(rf"(?<![\w.]){re.escape(word)}(?![\w.])", other, body, count=1)
                    action = self.space.tokenizer.decode(changed)
                    if isinstance(action, Action):
                        self.env.reset(self.tasks[i % len(self.tasks)], self.seed + i)
                        yield changed, action

    def _draw(self, task: Task, rng: random.Random) -> tuple[str, Action | InvalidAction]:
        seen = re.findall(r"[A-Za-z0-9_.]+", f"{self.env.observe().text} {task.instruction}")
        with suppress(KeyError):
            seen += self.env.interface("pointer").targets()
        text = self.sampler.sample(rng, sorted(set(seen)))
        return text, self.space.tokenizer.decode(text)


def some_tasks(suite: TaskSuite) -> list[Task]:
    """Return up to six solvable tasks, taken evenly from a suite."""
    solvable = [task for task in suite.tasks() if task.solvable]
    return solvable[:: max(1, len(solvable) // 6)][:6]
