"""What a plugin author imports, besides :mod:`crossagent.testing`. Loads no torch.

Write an **action space** by implementing seven methods: ``prompt_fragment``, ``grammar``, ``encode`` and ``decode`` of an
:class:`ActionTokenizer`, which say how an action is written; ``execute`` of an :class:`Executor`, which carries it out; and of the
:class:`ActionSpace` that holds the two, ``cost`` and ``from_calls``, which turns recorded calls into actions.

Write an **environment** by implementing seven methods of :class:`Environment`: ``reset``, ``observe``, ``interface``, ``snapshot``, ``restore``, ``state_hash``
and ``anchor_key``; one or more of the interfaces :class:`Control`, :class:`Pointer` and :class:`Skills`, and a
:class:`TaskSuite`, for which :class:`TaskList` is mostly enough.

Write a **sampler** by implementing ``sample`` of :class:`Sampler`, and a **command** as a function of the words after its name.

A plugin is a module (or object) named by an entry point of the group ``crossagent``; its hooks return declarations::

    from crossagent.plugin import ActionSpaceSpec, hookimpl

    CROSSAGENT_CONTRACT = "1.0"

    @hookimpl
    def crossagent_action_spaces():
        return [ActionSpaceSpec(name="toy", version="1", requires=("skills",), header="Toy:", factory="my_pkg:ToySpace")]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pluggy

from crossagent.envs.base import Environment, EnvironmentSpec, Expert, ExpertStuck, TaskSuite, TickLimit
from crossagent.envs.bridge import Bridge, BridgeFailed
from crossagent.envs.interfaces import Control, Param, Pointer, Rect, SkillFailed, Skills, SkillSpec
from crossagent.envs.task_list import TaskList
from crossagent.envs.workers.failures import WorldLost
from crossagent.errors import Unavailable
from crossagent.plugin_version import CONTRACT
from crossagent.spaces.base import (
    ActionSpace,
    ActionSpaceSpec,
    ActionTokenizer,
    Executor,
    SpaceSet,
    carry_out,
    lower,
    missing_header,
)
from crossagent.spaces.chain import ChainSpace
from crossagent.types import (
    Action,
    Call,
    Event,
    FinishReason,
    InvalidAction,
    Observation,
    Outcome,
    RawTick,
    Task,
    TokenSet,
)

GROUP = "crossagent"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One row to continue."""

    prompt_ids: tuple[int, ...]
    seed: int
    """Of this row alone, derived from (run seed, step, group, member, turn): results do not depend on batch order."""
    forced_ids: tuple[int, ...] = ()
    """Response tokens that are given (a header); the sample starts with them."""
    watched_ids: tuple[int, ...] = ()
    """Tokens whose log-prob is asked for where the first token is sampled: the openings of the spaces."""
    grammar: str = ""
    """What the response may be, forced tokens included: a Lark grammar with the rule ``start``; empty: anything."""
    images: tuple[bytes, ...] = ()
    """PNG bytes of the pictures in the prompt, in the order of their places; ``policy.pictures`` turns them into model inputs."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample; no top-k or top-p, which would make the sampler another policy."""

    temperature: float = 1.0
    """0 is greedy."""
    max_new_tokens: int = 32
    """Forced tokens included."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the sampler returns for one request."""

    response_ids: tuple[int, ...]
    """Forced ids first, the end-of-turn id last when it was sampled."""
    logprobs: tuple[float, ...]
    """Of each response token at the sampling temperature; 0.0 for forced ones. Temperature 0 reports those of 1."""
    finish_reason: FinishReason
    watched_logprobs: tuple[float, ...] = ()
    """One per watched id of the request, at the same temperature as ``logprobs``; empty when a sampler does not tell."""
    allowed: tuple[TokenSet, ...] = ()
    """Under a grammar: per response token the ids that could be drawn there. All log-probs are of the distribution over these
    alone. Empty without a grammar."""


class Sampler(Protocol):
    """Token ids in; token ids, log-probs and finish reason out, in the order of the requests."""

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        """Sample one response per request."""


class SampledPolicy(Protocol):
    """What a sampler gets: the policy as it is trained. Its weights change between calls of ``sample``."""

    model: Any
    """A causal language model of transformers, maybe wrapped by peft."""
    tokenizer: Any
    eot_id: int
    """The token that ends a response."""
    pad_id: int


@dataclass(frozen=True, slots=True)
class SamplerSpec:
    """What a plugin declares about one sampler; a recipe takes it by ``rollout.sampler.name``."""

    name: str
    version: str
    factory: str
    """``module:Class``, called with a :class:`SampledPolicy` and the recipe's ``rollout.sampler.options`` as keywords;
    returns a :class:`Sampler`."""
    doc: str = ""
    constrains: bool = False
    """It keeps to :attr:`SampleRequest.grammar` and says so in :attr:`Sample.allowed`; what ``rollout.constrained`` needs."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """What a plugin declares about one command: ``crossagent NAME …``. A name of crossagent's own is refused."""

    name: str
    version: str
    function: str
    """``module:function``, called with the list of words after the name; returns the exit code. It parses them itself."""
    doc: str = ""


class Hooks:
    """The whole plugin contract. Each hook is called once per process while plugins load, returns declarations, has no
    side effects and builds nothing.
    """

    @hookspec
    def crossagent_action_spaces(self) -> list[ActionSpaceSpec]:
        """Declare the action spaces this package provides."""
        raise NotImplementedError

    @hookspec
    def crossagent_environments(self) -> list[EnvironmentSpec]:
        """Declare the environments this package provides."""
        raise NotImplementedError

    @hookspec
    def crossagent_samplers(self) -> list[SamplerSpec]:
        """Declare the samplers this package provides."""
        raise NotImplementedError

    @hookspec
    def crossagent_commands(self) -> list[CommandSpec]:
        """Declare the commands this package adds. Called when a command is not one of crossagent's own, and by ``plugins``."""
        raise NotImplementedError


__all__ = [  # noqa: RUF022 - grouped by role
    # declare what a package provides
    "CONTRACT",
    "GROUP",
    "Hooks",
    "hookimpl",
    "hookspec",
    # write an action space
    "ActionSpace",
    "ActionSpaceSpec",
    "ActionTokenizer",
    "ChainSpace",
    "Executor",
    "SpaceSet",
    "carry_out",
    "lower",
    "missing_header",
    # write an environment
    "Environment",
    "EnvironmentSpec",
    "Expert",
    "ExpertStuck",
    "TaskList",
    "TaskSuite",
    "TickLimit",
    "Unavailable",
    # drive a game in another process
    "Bridge",
    "BridgeFailed",
    "WorldLost",
    # the interfaces between the two
    "Control",
    "Param",
    "Pointer",
    "Rect",
    "SkillFailed",
    "SkillSpec",
    "Skills",
    # the values that pass through
    "Action",
    "Call",
    "Event",
    "InvalidAction",
    "Observation",
    "Outcome",
    "RawTick",
    "Task",
    # write a sampler
    "FinishReason",
    "Sample",
    "SampleRequest",
    "SampledPolicy",
    "Sampler",
    "SamplerSpec",
    "SamplingParams",
    "TokenSet",
    # write a command
    "CommandSpec",
]
