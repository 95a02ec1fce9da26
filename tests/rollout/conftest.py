import hashlib
from collections.abc import Sequence

import pytest

from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.plugin import ActionSpaceSpec, SampleRequest
from crossagent.testing import ScriptedSampler, faulty_environment, toy_environment

SPACES = (
    (ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace"), {}),
    (ActionSpaceSpec("gui", "1", ("pointer",), "Gui:", "crossagent_gui.space:GuiSpace"), {}),
    (ActionSpaceSpec("control", "1", ("control",), "Action:", "crossagent_control.space:ControlSpace"), {"ticks": 4}),
)
EOT = 0


class LetterPrompt:
    """A prompt format whose tokens are letters; keeps the whole history."""

    headers = {"api": "Api:", "gui": "Gui:", "control": "Action:"}  # noqa: RUF012

    def shown(self, images):
        return ()

    def prompt_ids(self, instruction, spaces, history, observation, images=()):
        past = "".join(f"{seen}\n{self.decode(ids)}\n" for seen, ids in history)
        return tuple(map(ord, f"{' '.join(spaces)}|{instruction}|{past}{observation}\n"))

    def forced_ids(self, space):
        return tuple(map(ord, self.headers[space]))

    def response_ids(self, text, space):
        return (*map(ord, text), EOT)

    def grammar(self, spaces):
        return ""

    def decode(self, response_ids: Sequence[int]) -> str:
        return "".join(chr(i) for i in response_ids if i != EOT)


SAYINGS = (
    "Api: goto(apple)",
    "Api: take(apple)",
    "Gui: press(e)",
    "Action: press(d)",
    "Action: press(a) and click(left)",
    "nonsense",
    "Api: fly()",
    "Api: " + "x" * 80,
)


def whim(request: SampleRequest) -> Sequence[int]:
    """Say something that follows from prompt and seed; in the forced space, if one is forced."""
    key = hashlib.blake2b(repr((request.prompt_ids, request.seed)).encode()).digest()
    said = SAYINGS[key[0] % len(SAYINGS)]
    if request.forced_ids:
        header = "".join(map(chr, request.forced_ids))
        said = said if said.startswith(header) else header + " ?"
    return tuple(map(ord, said))


@pytest.fixture
def prompt():
    return LetterPrompt()


@pytest.fixture
def whimsicals():
    """Make samplers that answer alike."""
    return lambda: ScriptedSampler(whim, eot_id=EOT)


@pytest.fixture
def whimsical(whimsicals):
    return whimsicals()


@pytest.fixture
def sayer():
    """Make a sampler from a function of the prompt's text."""

    def make(answer):
        return ScriptedSampler(lambda r: tuple(map(ord, answer("".join(map(chr, r.prompt_ids))))), eot_id=EOT)

    return make


@pytest.fixture
def toy():
    return WorldConfig(toy_environment(), {}, SPACES)


@pytest.fixture
def faulty():
    return lambda **options: WorldConfig(faulty_environment(), options, SPACES)


@pytest.fixture
def pool(toy):
    with WorkerPool(toy, 0, 64, timeout_s=30) as pool:
        yield pool
