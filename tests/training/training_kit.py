"""A tiny policy, scripted groups, the toy world: what the training tests share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.plugin import ActionSpaceSpec, ChainSpace, SampleRequest, SamplingParams
from crossagent.policy.config import LoraConfig, PolicyConfig, PromptConfig
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.sampling.base import GenerateSampler
from crossagent.seeding import derive
from crossagent.testing import ToySuite, toy_environment
from crossagent.training.batch import Row, rows_from_trajectories
from crossagent.training.config import TrainerConfig
from crossagent.training.sources import Rollouts, turn_rewards
from crossagent.training.stage import StageRun
from crossagent.types import StopReason, Trajectory, Turn
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlSpace

WORDS = ["red", "green", "blue", "left", "right", "up", "down", "one", "two", "three"]


def tiny_policy(seed: int = 0, lora: LoraConfig | None = None, **config: Any) -> Policy:
    """Build a policy of some 50k parameters that knows a few words."""
    return Policy.build(
        PolicyConfig(model="scratch-0.1m", tokenizer_vocab=320, lora=lora, max_length=256, **config),
        texts=[" ".join(WORDS)],
        seed=seed,
    )


def rows_of(policy: Policy, count: int = 24) -> list[Row]:
    """Rows of unlike lengths: a word, and how the next word is written."""
    trajectories = []
    for i in range(count):
        prompt = tuple(policy.tokenizer.encode("red green blue " * (1 + i % 5) + "left", add_special_tokens=False))
        answer = (*policy.tokenizer.encode("right up down" * (1 + i % 3), add_special_tokens=False), policy.eot_id)
        turn = Turn(prompt, answer, (0.0,) * len(answer))
        trajectories.append(Trajectory("t", "c", "", i, i, 0, (turn,), StopReason.terminated, True))
    return rows_from_trajectories(trajectories)


class WordSource:
    """Groups of two-turn episodes without a world: success is when the second turn's first token fits the asked word.

    Odd first tokens cost. The second prompt extends the first turn exactly, so both layouts of rows apply.
    """

    spaces = ("even", "odd")
    weights: Mapping[str, float] = {"odd": 0.1}

    def __init__(self, policy: Policy, groups: int = 4, size: int = 4, temperature: float = 1.0, seed: int = 0) -> None:
        self.policy, self.sampler, self.groups, self.size, self.seed = (
            policy,
            GenerateSampler(policy),
            groups,
            size,
            seed,
        )
        self.params = SamplingParams(temperature, 3)
        self.prompts = [tuple(policy.tokenizer.encode(w, add_special_tokens=False)) for w in WORDS]
        self.fail: set[tuple[int, int, int]] = set()
        """(iteration, group, member) whose world breaks."""
        self.state = 0

    def play(self, iteration: int) -> Rollouts:
        keys = [(g, m) for g in range(self.groups) for m in range(self.size)]
        word = {g: (iteration * self.groups + g) % len(self.prompts) for g in range(self.groups)}
        asked = {g: self.prompts[w] for g, w in word.items()}
        turns: dict[tuple[int, int], list[Turn]] = {key: [] for key in keys}
        for number in range(2):
            requests = []
            for g, m in keys:
                before = turns[g, m][-1] if number else None
                prompt = asked[g] if before is None else (*before.prompt_ids, *before.response_ids, *asked[g])
                requests.append(SampleRequest(prompt, derive(self.seed, iteration, g, m, number)))
            for (g, m), request, sample in zip(keys, requests, self.sampler.sample(requests, self.params), strict=True):
                first = sample.response_ids[0]
                turns[g, m].append(
                    Turn(
                        request.prompt_ids,
                        sample.response_ids,
                        sample.logprobs,
                        sample.finish_reason,
                        space=self.spaces[first % 2],
                        invalid="no" if first > 300 else "",
                        cost=1.0,
                        anchor_key=f"{number}",
                    )
                )
        self.state += 1
        trajectories = []
        for g, m in keys:
            failed = (iteration, g, m) in self.fail
            trajectories.append(
                Trajectory(
                    task=f"word{g}",
                    category="word",
                    env="",
                    seed=g,
                    group=g,
                    member=m,
                    turns=tuple(turns[g, m]),
                    stop_reason=StopReason.failure if failed else StopReason.terminated,
                    success=not failed and turns[g, m][1].response_ids[0] % 3 == word[g] % 3,
                    state_hash=f"{iteration}.{g}",
                )
            )
        rewards = [turn_rewards(t, self.weights, 0.1) for t in trajectories]
        return Rollouts(tuple(trajectories), tuple(rewards), {"played": float(self.state)})

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.state = state["state"]


def stage(directory: Path, name: str = "test", **more: Any) -> StageRun:
    """A run of a stage; keywords that are keys of ``trainer`` go there."""
    trainer = {key: more.pop(key) for key in [*more] if key in TrainerConfig.__dataclass_fields__}
    return StageRun(name=name, directory=directory, trainer=TrainerConfig(**trainer), **{"seed": 3, **more})


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in policy.state_dict().items()}


def same_weights(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def timeless(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Leave out what a clock measured, and what workers took."""
    return [
        {k: v for k, v in row.items() if not k.startswith(("time/", "workers/")) and "per_second" not in k}
        for row in rows
    ]


SPECS = (
    ActionSpaceSpec("api", "1", ("skills",), "Api:", "crossagent_api.space:ApiSpace"),
    ActionSpaceSpec("gui", "1", ("pointer",), "Gui:", "crossagent_gui.space:GuiSpace"),
    ActionSpaceSpec("control", "1", ("control",), "Action:", "crossagent_control.space:ControlSpace"),
)
PLAN = ActionSpaceSpec("plan", "1", ("control", "skills"), "Plan:", "training_kit:PlanSpace")
SPACES = tuple(spec.name for spec in SPECS)


class PlanSpace(ChainSpace):
    """A skill that says what is meant, and the held keys that do it."""

    def __init__(self) -> None:
        super().__init__("plan", "Plan:", abstract=ApiSpace(), executable=ControlSpace())


def toy_pool(workers: int = 0, worlds: int = 64, specs: tuple[ActionSpaceSpec, ...] = SPECS, **more: Any) -> WorkerPool:
    config = WorldConfig(env=toy_environment(), spaces=tuple((spec, {}) for spec in specs), **more)
    return WorkerPool(config, workers, worlds, 20.0)


def toy_tasks(split: str = "train") -> list[Any]:
    return [task for task in ToySuite().tasks() if split in task.splits]


def toy_prompt(policy: Policy, pool: WorkerPool, *, constrained: bool = False, **config: Any) -> PromptFormat:
    described = pool.describe()
    grammars = described.grammars if constrained else None
    options = PromptConfig(**{"style": "compact", "fragments": "headers", **config})
    return PromptFormat(policy.tokenizer, options, described.fragments, described.headers, grammars)
