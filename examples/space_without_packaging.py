"""An action space without a package, as in a notebook: write the class, hand it to the recipe.

    python examples/space_without_packaging.py [KEY=VALUE …]

``Stroll: d 4`` walks four ticks while grabbing. No entry point, no installation: workers get the class by its code.
"""

import re
import sys
from pathlib import Path

from crossagent.pipeline.recipe_run import run_recipe
from crossagent.plugin import Action, ActionSpace, ActionTokenizer, Executor, InvalidAction, carry_out
from crossagent.registry.plugin_set import load_plugins
from crossagent.testing import check_action_space, toy_environment

TEXT = re.compile(r"Stroll: (a|d|here) ([1-9])")


class StrollTokenizer(ActionTokenizer):
    """Writes a direction and a number of ticks."""

    def prompt_fragment(self, env):
        return "Stroll: walks with a or d, or stays here, for 1 to 9 ticks, e.g. Stroll: d 4"

    def grammar(self, env):
        return 'stroll_response: "Stroll: " ("a" | "d" | "here") " " /[1-9]/'

    def encode(self, action):
        return "Stroll: {} {}".format(*action.payload)

    def decode(self, text):
        if read := TEXT.fullmatch(text):
            return Action("stroll", (read[1], int(read[2])))
        return InvalidAction("expected 'Stroll: ', a, d or here, and a number of ticks", (0, len(text)))


class StrollExecutor(Executor):
    """Holds the key and the button."""

    def execute(self, action, env):
        word, ticks = action.payload
        control = env.interface("control")
        keys = [word] if word in control.keys() else []  # noqa: SIM118 - no dict
        return carry_out(env, lambda: [control.step(keys, ["left"]) for _ in range(ticks)])


class StrollSpace(ActionSpace):
    """Walk and grab; costs the time it takes."""

    name, version, requires, header = "stroll", "1", ("control",), "Stroll:"
    tokenizer, executor = StrollTokenizer(), StrollExecutor()

    def cost(self, action, outcome):
        return 0.25 + 0.05 * outcome.ticks

    def from_calls(self, calls, env):
        held = [tuple(call.args[0]) for call in calls if call.interface == "control" and call.method == "step"]
        words = ["".join(keys) or "here" for keys in held]
        return [Action("stroll", (words[0], min(9, len(words))))] if words and words[0] in ("a", "d", "here") else []


if __name__ == "__main__":
    plugins = load_plugins().with_(space=StrollSpace(), environment=toy_environment())
    tasks = [task for task in plugins.suite("toy").tasks() if task.solvable]
    for finding in check_action_space(StrollSpace(), plugins.build_environment("toy"), tasks):
        print(finding)
    run_recipe(Path(__file__).with_suffix(".yaml"), sys.argv[1:], plugins)
