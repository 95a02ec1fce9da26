"""``check_action_space``: the contract of an action space, as rules that a plugin's own tests and ours run."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from crossagent.plugin import (
    Action,
    ActionSpace,
    ActionTokenizer,
    Call,
    Environment,
    Executor,
    InvalidAction,
    Outcome,
    RawTick,
    Task,
    TaskSuite,
)
from crossagent.testing.findings import Finding, Unchecked, run_rules
from crossagent.testing.grammars import GrammarSampler
from crossagent.testing.recording import Recorder, each_interface

_SPECIAL = re.compile(r"<\|[^|>\s]*\|>")
NASTY = (
    "", " ", "\n", "\0", "()", "(((((((", ")", ",", ", ,", " and ", "and and and", "no_op no_op", "-", "--1", "1e9", "NaN",
    "x(" * 50, "click(1, 2, 3)", "move(999999999999999999999, 0)", "press()", "press(,)", "½ ٣ ²", "é\u0301\u202e\U0001f600",
    "\ud800", "a" * 10_000, "%s{0}{}\\", "'\"`", "<|endoftext|>", "\r\n\t\x0b", "click(result)\nclick(result)",
)  # fmt: skip
"""Ends of responses that a model may well write."""


RESERVED_TOKENS = {
    "<|pad|>", "<|end|>", "<|system|>", "<|task|>", "<|user|>", "<|assistant|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|eot_id|>", "<s>", "</s>", "<pad>", "<unk>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<image>",
}  # fmt: skip
"""Special tokens of the tokenizers that policies come with."""


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


def check_action_space(
    space: ActionSpace, env: Environment, tasks: Task | Sequence[Task], *, seed: int = 0, examples: int = 60
) -> list[Finding]:
    """Check a space on a world that offers what it requires.

    Args:
        space: The space, built.
        env: A world; it is reset many times.
        tasks: Tasks of that world to try the actions in.
        seed: Everything drawn depends on it alone.
        examples: Number of texts drawn from the grammar.

    Returns:
        What is wrong, empty for a good space. Never raises for a fault of the space.
    """
    tasks = [tasks] if isinstance(tasks, Task) else list(tasks)
    return run_rules(SPACE_RULES, SpaceCase(space, env, tasks, seed, examples))


def declaration(case: SpaceCase) -> Iterator[str]:
    """A space has name, version, requires, header, tokenizer and executor."""
    space = case.space
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
    """The world offers every interface the space requires."""
    for name in case.space.requires:
        try:
            case.env.interface(name)
        except KeyError:
            yield f"{case.env.name!r} offers no interface {name!r}; check the space on a world that does"


def interfaces_required(case: SpaceCase) -> Iterator[str]:
    """The space uses no interface that it does not require: another world may lack it."""
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


def header(case: SpaceCase) -> Iterator[str]:
    """The header is visible text without blanks at its ends."""
    text = case.space.header
    if not text.strip() or text != text.strip():
        yield f"header is {text!r}; it is tokenized by itself: no blanks at its ends, e.g. 'Toy:' and not 'Toy: '"


def prompt_fragment(case: SpaceCase) -> Iterator[str]:
    """The prompt says how to write the actions, header included."""
    case.env.reset(case.tasks[0], case.seed)
    before = case.env.state_hash()
    fragment = case.space.tokenizer.prompt_fragment(case.env)
    if case.space.header not in fragment:
        yield f"prompt_fragment does not name the header {case.space.header!r}; the model cannot know it otherwise"
    if fragment != case.space.tokenizer.prompt_fragment(case.env):
        yield "prompt_fragment differs between two calls in one state; make it depend on the world alone"
    if case.env.state_hash() != before:
        yield "prompt_fragment changes the world; only look"


def described_once(case: SpaceCase) -> Iterator[str]:
    """Prompt and grammar are the same in every state: they are asked for once per run, before any episode."""
    tokenizer = case.space.tokenizer
    said = [(tokenizer.prompt_fragment(case.env), tokenizer.grammar(case.env))]
    for i, task in enumerate(case.tasks):
        case.env.reset(task, case.seed + i)
        said.append((tokenizer.prompt_fragment(case.env), tokenizer.grammar(case.env)))
        if said[-1] != said[0]:
            what = "prompt_fragment" if said[-1][0] != said[0][0] else "grammar"
            yield f"{what} differs between two states (task {task.name!r}); take from the world only what never changes"


def grammar_parses(case: SpaceCase) -> Iterator[str]:
    """The grammar loads in Lark, and its names cannot collide with another space's."""
    prefix = case.space.name
    try:
        case.load_grammar()
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        yield (
            f"the grammar does not load ({type(error).__name__}: {said}); write it in Lark's syntax, with the start rule "
            f'{prefix}_response, e.g. {prefix}_response: "{case.space.header} " /[a-z]+/'
        )
        return
    for rule in case.sampler.rules:
        if not rule.startswith(f"{prefix}_"):
            yield f"grammar rule {rule!r} may collide with another space's; call it {prefix}_{rule}"
    for terminal in case.sampler.terminals:
        if not terminal.startswith(f"{prefix.upper()}_"):
            yield f"grammar terminal {terminal!r} may collide with another space's; call it {prefix.upper()}_{terminal}"


def grammar_starts_with_header(case: SpaceCase) -> Iterator[str]:
    """Every text of the grammar opens with the header."""
    for text in case.sample():
        if not text.startswith(case.space.header):
            yield f"the grammar generates {text!r}; let its start rule begin with {case.space.header!r}"


def round_trip(case: SpaceCase) -> Iterator[str]:
    """Every text of the grammar decodes, and encodes to itself again."""
    tokenizer = case.space.tokenizer
    for text in case.sample():
        action = tokenizer.decode(text)
        if not isinstance(action, Action):
            yield f"the grammar generates {text!r}, but decode says {action.reason!r}; make the two agree"
            continue
        if action.space != case.space.name:
            yield f"decode({text!r}).space is {action.space!r}; expected {case.space.name!r}"
        again = tokenizer.encode(action)
        if again != text:
            yield f"{text!r} decodes and encodes to {again!r}; let the grammar generate canonical texts only"
        if tokenizer.decode(again) != action:
            yield f"decode(encode(a)) is another action than a = {action!r}; encode must keep everything"


def encode_within_grammar(case: SpaceCase) -> Iterator[str]:
    """What encode writes, the grammar accepts."""
    for text, action in case.actions():
        written = case.space.tokenizer.encode(action)
        if not case.sampler.parses(written):
            yield f"encode writes {written!r} for {text!r}, which the grammar does not accept; constrained decoding could not say it"


def payload_is_json(case: SpaceCase) -> Iterator[str]:
    """A payload survives JSON, in which tuples become lists: trajectories are stored that way."""
    for text, action in case.actions():
        try:
            stored = json.loads(json.dumps(action.payload, allow_nan=False))
        except (TypeError, ValueError) as error:
            yield f"payload {action.payload!r} of {text!r} is no JSON ({error}); use numbers, strings, tuples, dicts"
            continue
        if case.space.tokenizer.encode(Action(case.space.name, stored)) != text:
            yield f"the payload of {text!r} encodes differently after a round trip through JSON; accept lists for tuples"


def decode_is_total(case: SpaceCase) -> Iterator[str]:
    """Decode returns an action or a reason with a span, on any text."""
    rng = random.Random(case.seed)
    head = case.space.header
    texts = [*NASTY, *(head + t for t in NASTY), *(f"{head} {t}" for t in NASTY)]
    for text in case.sample():
        cut = rng.randrange(len(text) + 1)
        texts += [text[:cut], text[cut:], text + text, text.upper(), text.replace(" ", ""), text.replace("(", "[")]
        texts += [text.removeprefix(head), text.removeprefix(head).strip(), "Another:" + text.removeprefix(head)]
        texts += [text[:cut] + chr(rng.choice((0, 40, 44, 0xE9, 0x663, 0x1F600))) + text[cut:]]
    for text in texts:
        shown = repr(text if len(text) < 60 else text[:57] + "…")
        try:
            result = case.space.tokenizer.decode(text)
        except Exception as error:
            yield f"decode({shown}) raised {type(error).__name__}: {error}; return InvalidAction(reason, span)"
            continue
        if not isinstance(result, (Action, InvalidAction)):
            yield f"decode({shown}) returned {result!r}; expected an Action or an InvalidAction"
        elif isinstance(result, Action) and not text.startswith(head):
            yield f"decode({shown}) accepts a text without the header {head!r}; a header elsewhere is no action"
        elif isinstance(result, InvalidAction):
            start, end = result.span
            if not result.reason:
                yield f"decode({shown}) gives no reason; the policy reads it in its next prompt"
            if not 0 <= start <= end <= len(text):
                yield f"decode({shown}) gives the span {result.span}; expected 0 ≤ start ≤ end ≤ {len(text)}"
        elif (once := case.space.tokenizer.encode(result)) and case.space.tokenizer.decode(once) != result:
            yield f"decode({shown}) is {result!r}, which encodes to {once!r}, another action; reject it or keep it whole"


def decode_is_pure(case: SpaceCase) -> Iterator[str]:
    """Decode depends on the text alone: no world, no randomness, no memory."""
    case.env.reset(case.tasks[0], case.seed)
    before, state = case.env.state_hash(), random.getstate()
    first = [case.space.tokenizer.decode(text) for text in case.sample()]
    second = [case.space.tokenizer.decode(text) for text in reversed(case.sample())][::-1]
    if random.getstate() != state:
        yield "decode draws from the global random generator; it must not: the text alone decides"
    for text, a, b in zip(case.sample(), first, second, strict=True):
        if a != b:
            yield f"decode({text!r}) is {a!r}, then {b!r}; keep no state between calls"
    if case.env.state_hash() != before:
        yield "decode changes the world; that is the executor's part"


def special_tokens_declared(case: SpaceCase) -> Iterator[str]:
    """Special tokens are declared, used and without blanks."""
    declared = case.space.tokenizer.special_tokens()
    if isinstance(declared, str) or not all(isinstance(t, str) and t for t in declared):
        yield f"special_tokens() is {declared!r}; return a tuple of texts, e.g. ('<|{case.space.name}_go|>',)"
        return
    if len(set(declared)) != len(declared):
        yield f"special_tokens() has a token twice: {declared!r}"
    for token in declared:
        if re.search(r"\s", token):
            yield f"special token {token!r} has a blank in it, at which tokenizers split; write it like '<|{case.space.name}_go|>'"
        if token in RESERVED_TOKENS:
            yield f"special token {token!r} is one that models use themselves (a turn would end there); call it '<|{case.space.name}_…|>'"
        for other in declared:
            if other != token and token in other:
                yield f"special token {token!r} is part of {other!r}, so one hides the other; give them names of their own"
    written = {token for text in case.sample() for token in _SPECIAL.findall(text)}
    for token in sorted(written - set(declared)):
        yield f"actions are written with {token!r}, which special_tokens() does not declare; it would be split into pieces"
    for token in declared:
        if not any(token in text for text in case.sample()):
            yield f"special token {token!r} is in none of {len(case.sample())} sampled texts; it would be trained for nothing"


def execution(case: SpaceCase) -> Iterator[str]:
    """Executing returns an outcome that agrees with the world's log, and never raises for a valid action."""
    for text, action in chain(case.situations(), case.absurdities()):
        start = len(case.env.tick_log)
        try:
            outcome = case.space.executor.execute(action, case.env)
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
    """Lowering restores the world, is repeatable, and a longer horizon only adds ticks."""
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
    if recorded and not understood:
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


def some_tasks(suite: TaskSuite) -> list[Task]:
    """Return up to six solvable tasks, taken evenly from a suite."""
    solvable = [task for task in suite.tasks() if task.solvable]
    return solvable[:: max(1, len(solvable) // 6)][:6]


SPACE_RULES = (
    declaration,
    interfaces_offered,
    header,
    described_once,
    prompt_fragment,
    grammar_parses,
    grammar_starts_with_header,
    round_trip,
    encode_within_grammar,
    payload_is_json,
    decode_is_total,
    decode_is_pure,
    special_tokens_declared,
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
