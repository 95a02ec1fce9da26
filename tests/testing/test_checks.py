"""Each rule of the checks finds the fault it is there for: a good plugin, broken in one place, for every rule."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crossagent.envs.interfaces import SkillSpec
from crossagent.plugin import Action, ActionSpace, Call, EnvironmentSpec, InvalidAction, Outcome, RawTick, SamplerSpec
from crossagent.registry.plugin_set import PluginError, PluginSet, load_plugins
from crossagent.testing import (
    GrammarSampler,
    ToySuite,
    ToyWorld,
    check_action_space,
    check_environment,
    check_plugin,
    toy_environment,
)
from crossagent.testing.checks.environment import ENVIRONMENT_RULES
from crossagent.testing.checks.findings import run_rules
from crossagent.testing.checks.space import SPACE_RULES
from crossagent.testing.toy import ToyControl, ToySkills
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlSpace
from crossagent_gui.space import GuiSpace

TASKS = [task for task in ToySuite().tasks() if task.solvable]


def rule_name(rule: Callable[..., Any]) -> str:
    return rule.__name__.replace("_", "-")


# -- spaces ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("space", [ApiSpace(), GuiSpace(), ControlSpace(), ControlSpace(ticks=1)])
def test_the_standard_spaces_keep_the_contract(space: ActionSpace) -> None:
    assert check_action_space(space, ToyWorld(), TASKS, examples=100) == []


def patched(part: str, **methods: Any) -> Callable[[], ActionSpace]:
    """Return a builder of a control space with some methods replaced; each gets the original as first argument."""

    def build() -> ActionSpace:
        space = ControlSpace()
        target: Any = space if part == "space" else getattr(space, part)
        for name, replacement in methods.items():
            original = getattr(target, name, None)
            if callable(replacement):
                setattr(target, name, lambda *a, _o=original, _r=replacement: _r(_o, *a))
            else:
                setattr(target, name, replacement)
        return space

    return build


def _execute_twice(original: Any, action: Action, env: Any) -> Outcome:
    original(action, env)
    return original(action, env)  # type: ignore[no-any-return]


def _execute_and_forget_limits(original: Any, action: Action, env: Any) -> Outcome:
    env.truncated = False
    return original(action, env)  # type: ignore[no-any-return]


def _execute_for_long(original: Any, action: Action, env: Any) -> Outcome:
    env.task = type(env.task)(**{f: getattr(env.task, f) for f in env.task.__slots__} | {"max_ticks": 10**6})
    for _ in range(100):
        original(action, env)
    return original(action, env)  # type: ignore[no-any-return]


def _execute_at_random(original: Any, action: Action, env: Any) -> Outcome:
    if random.random() < 0.5:
        env.interface("control").step()
    return original(action, env)  # type: ignore[no-any-return]


def _raise(*_: Any) -> Any:
    raise RuntimeError("boom")


_memory: list[int] = []


def _decode_with_memory(original: Any, text: str) -> Any:
    _memory.append(1)
    return original(text) if len(_memory) % 2 else InvalidAction("tired")


BROKEN_SPACES = {
    "declaration": patched("space", name="Control"),
    "interfaces-offered": patched("space", requires=("control", "telepathy")),
    "interfaces-required": patched("executor", execute=lambda o, a, env: (env.interface("pointer"), o(a, env))[1]),
    "header": patched("space", header="Action: "),
    "described-once": patched("tokenizer", prompt_fragment=lambda o, env: o(env) + str(getattr(env, "things", ""))),
    "prompt-fragment": patched("tokenizer", prompt_fragment=lambda o, env: "do what you like"),
    "grammar-parses": patched("tokenizer", grammar=lambda o, env: o(env).replace("control_move", "move")),
    "grammar-starts-with-header": patched("tokenizer", grammar=lambda o, env: 'control_response: "no_op"'),
    "round-trip": patched("tokenizer", encode=lambda o, a: o(a).replace(" and ", "  and ")),
    "encode-within-grammar": patched("tokenizer", grammar=lambda o, env: o(env).replace('"click(right)"', '"click(middle)"'), encode=lambda o, a: o(a).replace("middle", "right")),
    "payload-is-json": patched("tokenizer", decode=lambda o, t: Action("control", {1, 2}) if isinstance(o(t), Action) else o(t)),
    "decode-is-total": patched("tokenizer", decode=lambda o, t: o(t) if t.isascii() else _raise()),
    "decode-is-pure": patched("tokenizer", decode=_decode_with_memory),
    "special-tokens-declared": patched("tokenizer", special_tokens=lambda o: ("<|never|>",)),
    "execution": patched("executor", execute=_raise),
    "execution-is-bounded": patched("executor", execute=_execute_for_long),
    "over-is-over": patched("executor", execute=_execute_and_forget_limits),
    "execution-is-deterministic": patched("executor", execute=_execute_at_random),
    "cost": patched("space", cost=lambda o, a, outcome: float("nan")),
    "lowering": patched("space", lower=lambda o, a, env, h=1: (env.tick(RawTick(("d",))), o(a, env, h))[1]),
    "calls-become-actions": patched("space", from_calls=lambda o, calls, env: [Action("control", ((1, 1), ("d", "a"), ()))]),
}  # fmt: skip


def test_there_is_a_broken_space_for_every_rule() -> None:
    assert set(BROKEN_SPACES) == {rule_name(rule) for rule in SPACE_RULES}


@pytest.mark.parametrize("rule", sorted(BROKEN_SPACES))
def test_a_broken_space_is_found_by_its_rule(rule: str) -> None:
    found = check_action_space(BROKEN_SPACES[rule](), ToyWorld(), TASKS, examples=40)
    assert rule in {finding.rule for finding in found}
    assert all(len(finding.message) > 20 for finding in found)


def test_an_outcome_that_disagrees_with_the_log_is_found() -> None:
    space = patched("executor", execute=_execute_twice)()
    assert "execution" in {f.rule for f in check_action_space(space, ToyWorld(), TASKS)}


# -- environments ----------------------------------------------------------------------------------------------------
class Unseeded(ToyWorld):
    def reset(self, task: Any, seed: int) -> Any:
        return super().reset(task, random.randrange(10**9))


class Seedless(ToyWorld):
    def reset(self, task: Any, seed: int) -> Any:
        return super().reset(task, 0)


class Careless(ToyWorld):
    def _move_animals(self) -> None:
        super()._move_animals()
        self.position += random.choice((0, 0, 1)) if self.position < self.cells - 1 else 0


class NoClock(ToyWorld):
    def state_hash(self) -> str:
        return self.task.name + str(self.__dict__.get("seed", "")) + str(self.things)[:3]


class Blinkered(ToyWorld):
    def state_hash(self) -> str:
        return repr((self.task.name, self._state(), self.episode_state()))


class Curious(ToyWorld):
    def observe(self) -> Any:
        self.held = (*self.held, "looked")
        return super().observe()


class Forgetful(ToyWorld):
    def restore(self, snapshot: Any) -> None:
        rng = self.rng.getstate()
        super().restore(snapshot)
        self.rng.setstate(rng)


class Undying(ToyWorld):
    def tick(self, raw: RawTick) -> None:
        self.truncated = False
        super().tick(raw)


class Untimed(ToyWorld):
    def tick(self, raw: RawTick) -> None:
        super().tick(raw)
        self.truncated = False


class Uncounted(ToyWorld):
    def begin_tick(self, raw: RawTick) -> None:
        self.tick_log.append(raw)


class Leftover(ToyWorld):
    def begin_episode(self) -> None:
        log = self.tick_log
        super().begin_episode()
        self.tick_log = log


class UnsortedControl(ToyControl):
    def keys(self) -> tuple[str, ...]:
        return ("e", "d", "a")


class Unsorted(ToyWorld):
    def __init__(self) -> None:
        super().__init__()
        self._interfaces["control"] = UnsortedControl(self)


class OffScreen(ToyWorld):
    def targets(self) -> Any:
        return {n: r._replace(x=r.x + 500) for n, r in super().targets().items()}


class Undocumented(ToyWorld):
    def __init__(self) -> None:
        super().__init__()
        skills: Any = self._interfaces["skills"]
        skills._table = {"jump": (SkillSpec("jump"), lambda: {}["no"]), **skills._table}


class Misnamed(ToyWorld):
    name = "troy"


class Generous(ToyWorld):
    def interface(self, name: str) -> Any:
        return self._interfaces.get(name)


class MessySuite(ToySuite):
    def tasks(self) -> Any:
        return (*super().tasks(), super().tasks()[0])


class EmptyHanded(ToySuite):
    def get(self, name: str) -> Any:
        return super().tasks()[0]


class Meddler:
    interface = "control"

    def propose(self, env: Any) -> list[Call]:
        env.interface("control").step()
        return [Call("control", "step", ())]


class Late(ToyWorld):
    def interface(self, name: str) -> Any:
        if name == "skills":
            return ToySkillsOfTheEpisode(self)
        return super().interface(name)


class ToySkillsOfTheEpisode(ToySkills):
    def list(self) -> Any:
        return super().list() if self._world.things is not None else ()


class Numb(ToyWorld):
    def _move_animals(self) -> None:
        np.random.rand()


def meddling() -> EnvironmentSpec:
    toy = toy_environment()
    return EnvironmentSpec(
        toy.name, toy.version, toy.interfaces, toy.factory, toy.suite, {"control": f"{__name__}:Meddler"}
    )


BROKEN_ENVIRONMENTS: dict[str, Callable[[], tuple[Any, Any, EnvironmentSpec]]] = {
    "names-agree": lambda: (Misnamed(), ToySuite(), toy_environment()),
    "interfaces-are-there": lambda: (Generous(), ToySuite(), toy_environment()),
    "reset-starts-afresh": lambda: (Leftover(), ToySuite(), toy_environment()),
    "same-seed-same-state": lambda: (Unseeded(), ToySuite(), toy_environment()),
    "seeds-matter": lambda: (Seedless(), ToySuite(), toy_environment()),
    "world-is-deterministic": lambda: (Careless(), ToySuite(), toy_environment()),
    "hash-follows-state": lambda: (NoClock(), ToySuite(), toy_environment()),
    "hash-sees-generators": lambda: (Blinkered(), ToySuite(), toy_environment()),
    "observing-changes-nothing": lambda: (Curious(), ToySuite(), toy_environment()),
    "snapshot-is-exact": lambda: (Forgetful(), ToySuite(), toy_environment()),
    "over-means-no-ops": lambda: (Undying(), ToySuite(), toy_environment()),
    "tick-limit-is-kept": lambda: (Uncounted(), ToySuite(), toy_environment()),
    "time-runs-out": lambda: (Untimed(), ToySuite(), toy_environment()),
    "control-is-well-formed": lambda: (Unsorted(), ToySuite(), toy_environment()),
    "pointer-is-well-formed": lambda: (OffScreen(), ToySuite(), toy_environment()),
    "skills-are-well-formed": lambda: (Undocumented(), ToySuite(), toy_environment()),
    "tasks-are-well-formed": lambda: (ToyWorld(), MessySuite(), toy_environment()),
    "tasks-can-be-found": lambda: (ToyWorld(), EmptyHanded(), toy_environment()),
    "experts-propose-calls": lambda: (ToyWorld(), ToySuite(), meddling()),
}


def test_there_is_a_broken_world_for_every_rule() -> None:
    assert set(BROKEN_ENVIRONMENTS) == {rule_name(rule) for rule in ENVIRONMENT_RULES}


@pytest.mark.parametrize("rule", sorted(BROKEN_ENVIRONMENTS))
def test_a_broken_world_is_found_by_its_rule(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    env, suite, spec = BROKEN_ENVIRONMENTS[rule]()
    found = check_environment(env, suite, spec)
    assert rule in {finding.rule for finding in found}, found


def _this_module() -> Any:
    import types

    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    return module


def test_an_interface_that_needs_an_episode_to_be_described_is_found() -> None:
    found = check_environment(Late(), ToySuite(), toy_environment())
    assert any("before the first reset" in f.message for f in found if f.rule == "interfaces-are-there"), found


def test_a_world_that_draws_from_numpy_s_global_generator_is_found() -> None:
    found = check_environment(Numb(), ToySuite(), toy_environment())
    assert [f.rule for f in found] == ["world-is-deterministic"] * len(found)
    assert "global random generator" in found[0].message


# -- the machinery ---------------------------------------------------------------------------------------------------
def test_an_endless_loop_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossagent.testing.checks.findings._RULE_S", 0.05)

    def endless(case: None) -> Any:
        """It ends."""
        while True:
            pass
        yield ""

    (finding,) = run_rules([endless], None)
    assert finding.rule == "endless"
    assert "env.over" in finding.message


@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ('start: "a" start "b" | "c"', "a+cb+|c"),
        ("start: (X | Y)~2\nX: /[^a-y]/\nY: /\\d{2,3}|(?:no|yes)!?/", ".+"),
        ('start: "x"? start2*\nstart2: /[A-C]+/', "x?[A-C]*"),
    ],
)
def test_sampled_texts_belong_to_their_grammar(grammar: str, pattern: str) -> None:
    import re

    sampler = GrammarSampler(grammar, "start")
    texts = {sampler.sample(random.Random(seed)) for seed in range(60)}
    assert len(texts) > 3
    for text in texts:
        assert re.fullmatch(pattern, text)
        assert sampler.parses(text), text
    assert not sampler.parses("???")


def test_a_plugin_is_checked_by_name_on_every_world_it_fits() -> None:
    plugins = load_plugins()
    toy_only = PluginSet(spaces=plugins.spaces, environments={"toy": toy_environment()}, origins=plugins.origins)
    assert check_plugin(toy_only, "gui") == []
    assert check_plugin(toy_only, "toy") == []
    with pytest.raises(PluginError, match=r"no action space or environment is called 'guy'. Did you mean 'gui'\?"):
        check_plugin(toy_only, "guy")
    with pytest.raises(PluginError, match=r"called 'zzzzzz'. Known: api, control, .*toy"):
        check_plugin(toy_only, "zzzzzz")
    mumbler = toy_only.with_(sampler=SamplerSpec("mumbler", "1", "mumbler:Mumbler"))
    with pytest.raises(PluginError, match=r"sampler 'mumbler' needs a policy, .* Fix: write a SamplerContract"):
        check_plugin(mumbler, "mumbler")
