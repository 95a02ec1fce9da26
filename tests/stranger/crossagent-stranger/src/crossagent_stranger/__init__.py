"""A space that talks: ``Talk: <|go|>north`` walks for four ticks, ``Talk: <|hit|>north`` hits on the way."""

from collections.abc import Sequence

from crossagent.plugin import (
    Action,
    ActionSpace,
    ActionSpaceSpec,
    ActionTokenizer,
    Call,
    Environment,
    Executor,
    InvalidAction,
    Outcome,
    carry_out,
    hookimpl,
)

BUTTONS: dict[str, tuple[str, ...]] = {"<|go|>": (), "<|hit|>": ("left",)}
KEYS: dict[str, tuple[str, ...]] = {"north": ("w",), "south": ("s",), "west": ("a",), "east": ("d",), "here": ()}


class TalkTokenizer(ActionTokenizer):
    def prompt_fragment(self, env: Environment) -> str:
        return f"Talk: takes a verb, {' or '.join(BUTTONS)}, and a direction: {', '.join(KEYS)}."

    def special_tokens(self) -> tuple[str, ...]:
        return tuple(BUTTONS)

    def grammar(self, env: Environment) -> str:
        verbs, words = (" | ".join(f'"{text}"' for text in table) for table in (BUTTONS, KEYS))
        return f'talk_response: "Talk: " talk_verb talk_word\ntalk_verb: {verbs}\ntalk_word: {words}'

    def encode(self, action: Action) -> str:
        return "Talk: " + "".join(action.payload)

    def decode(self, text: str) -> Action | InvalidAction:
        for verb in BUTTONS:
            if text.startswith(f"Talk: {verb}") and text[6 + len(verb) :] in KEYS:
                return Action("talk", (verb, text[6 + len(verb) :]))
        return InvalidAction("expected a verb and a direction", (0, len(text)))


class TalkExecutor(Executor):
    def execute(self, action: Action, env: Environment) -> Outcome:
        verb, word = action.payload
        control = env.interface("control")
        known = control.keys()
        keys = [key for key in KEYS[word] if key in known]
        return carry_out(env, lambda: [control.step(keys, BUTTONS[verb]) for _ in range(4)])


class TalkSpace(ActionSpace):
    name, version, requires, header = "talk", "1", ("control",), "Talk:"
    tokenizer, executor = TalkTokenizer(), TalkExecutor()

    def cost(self, action: Action, outcome: Outcome) -> float:
        return 0.1 * outcome.ticks

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        known = {(keys, buttons): (v, w) for v, buttons in BUTTONS.items() for w, keys in KEYS.items()}
        held = [(tuple(c.args[0]), tuple(c.args[1])) for c in calls if c.interface == "control"]
        return [Action("talk", known[h]) for h in dict.fromkeys(held) if h in known]


@hookimpl
def crossagent_action_spaces() -> list[ActionSpaceSpec]:
    return [
        ActionSpaceSpec("talk", "1", ("control",), "Talk:", "crossagent_stranger:TalkSpace", doc="Walk by talking.")
    ]
