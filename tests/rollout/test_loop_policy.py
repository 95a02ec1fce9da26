"""The loop with a real tokenizer, prompt format and model."""

import pytest

from crossagent.demonstrations.collect import collect
from crossagent.envs.workers.pool import WorkerPool
from crossagent.plugin import SamplingParams
from crossagent.rollout.loop import Episode, play
from crossagent.testing import ToySuite

ALL = ("api", "gui", "control")
TASKS = [t for t in ToySuite().tasks() if "train" in t.splits]


@pytest.fixture(scope="module")
def make_format():
    """Return (policy, function from a history to a prompt format) of an untrained model over the toy world's texts."""
    from crossagent.envs.world import World, WorldConfig
    from crossagent.plugin import ActionSpaceSpec
    from crossagent.policy.config import PolicyConfig, PromptConfig
    from crossagent.policy.model import Policy
    from crossagent.policy.prompt import PromptFormat
    from crossagent.testing import toy_environment

    specs = (
        ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace"),
        ActionSpaceSpec("gui", "1", ("pointer",), "Gui:", "crossagent_gui.space:GuiSpace"),
        ActionSpaceSpec("control", "1", ("control",), "Action:", "crossagent_control.space:ControlSpace"),
    )
    config = WorldConfig(toy_environment(), {}, tuple((spec, {}) for spec in specs))
    with WorkerPool(config, 0, 4, timeout_s=30) as pool:
        demos = collect(pool, TASKS, episodes=40, mixture={"mixed": 1}, seed=0)
    told = World(config).describe()
    texts = [t for d in demos for turn in d.turns for t in (turn.observation, turn.text)]
    policy = Policy.build(PolicyConfig(model="scratch-0.1m", tokenizer_vocab=512), texts=texts, seed=0)
    return (
        config,
        policy,
        lambda history: PromptFormat(
            policy.tokenizer,
            PromptConfig(style="compact", history=history, fragments="headers"),
            told.fragments,
            told.headers,
        ),
    )


def episodes(spaces):
    return [Episode(task, 40 + g, g, m, spaces) for g, task in enumerate(TASKS[:3]) for m in range(3)]


@pytest.mark.parametrize("spaces", [ALL, ("gui",)])
def test_a_model_plays_the_same_with_any_number_of_workers(make_format, spaces):
    from crossagent.sampling.base import GenerateSampler

    config, policy, prompt = make_format
    played = []
    for workers, worlds in ((0, 9), (1, 9), (2, 5)):
        with WorkerPool(config, workers, worlds, timeout_s=30) as pool:
            played.append(
                play(
                    episodes(spaces),
                    pool=pool,
                    sampler=GenerateSampler(policy),
                    prompt=prompt(0),
                    params=SamplingParams(max_new_tokens=12),
                    seed=1,
                    step=0,
                )
            )
    assert played[0] == played[1] == played[2]
    forced = [turn for t in played[0] for turn in t.turns if turn.forced]
    assert bool(forced) == (len(spaces) == 1)
    assert all(turn.text.startswith("Gui:") for turn in forced)


def test_with_the_whole_history_each_prompt_extends_the_ids_before(make_format):
    """A scripted model, so that episodes last; real tokens, so that re-tokenizing would show."""
    from crossagent.testing import ScriptedSampler

    config, policy, prompt = make_format
    whole = prompt(-1)
    said = ("Action: press(a)", "Gui: press(e)", "nonsense é", "Api: goto(apple)")
    sampler = ScriptedSampler(
        lambda r: policy.tokenizer.encode(said[r.seed % 4], add_special_tokens=False), eot_id=policy.eot_id
    )
    with WorkerPool(config, 0, 9, timeout_s=30) as pool:
        played = play(
            episodes(ALL),
            pool=pool,
            sampler=sampler,
            prompt=whole,
            params=SamplingParams(max_new_tokens=64),
            seed=1,
            step=0,
        )
    pairs = [(a, b) for t in played for a, b in zip(t.turns, t.turns[1:], strict=False)]
    assert len(pairs) > 20
    for before, after in pairs:
        so_far = before.prompt_ids + before.response_ids
        assert after.prompt_ids[: len(so_far)] == so_far
