"""Mistakes that authors make, each a generated package with one thing changed: named, with the fix, by itself alone.

Every message must hold two things: what is wrong (so that it is found) and what to do (so that it can be mended). The
plugin ``good`` is there every time and works every time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NamedTuple

import pytest

from crossagent.errors import PluginError
from crossagent.plugin_version import CONTRACT
from crossagent.registry.plugin_set import PluginSet, load_plugins
from crossagent.scaffold import Kind, new_package
from crossagent.testing import check_plugin

Load = Callable[..., PluginSet]
STATED = f'CROSSAGENT_CONTRACT = "{CONTRACT}"'
SPACE_SPEC = '"bad", "1", ("skills",), "Bad:"'


class Mistake(NamedTuple):
    """``old`` is written ``new``; then a message (of this rule, if it is found by a check) has ``wrong`` and ``fix``."""

    old: str
    new: str
    wrong: str
    fix: str
    rule: str = ""


class Package:
    """An installed distribution, as importlib.metadata shows it to an entry point."""

    version = "0.1.0"

    def __init__(self, name: str) -> None:
        self.name = name


def entry(name: str, module: str) -> EntryPoint:
    made = EntryPoint(name, module, "crossagent")
    vars(made)["dist"] = Package(module.replace("_", "-"))
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The code of the generated packages, by kind; and ``good``."""
    tmp = tmp_path_factory.mktemp("written")
    kinds: dict[str, tuple[Kind, str]] = {
        "space": ("space", "bad"),
        "environment": ("environment", "bad"),
        "good": ("space", "good"),
    }
    code = {}
    for key, (kind, name) in kinds.items():
        package = new_package(kind, name, tmp / key, PluginSet())
        code[key] = (package / f"src/crossagent_{name}/__init__.py").read_text()
    return code


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: dict[str, str]) -> Iterator[Load]:
    """Load ``bad``, generated with one change (and more plugins), beside ``good``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = ["crossagent_good"]

    def put(module: str, code: str) -> None:
        (tmp_path / f"{module}.py").write_text(code)
        modules.append(module)

    def loading(kind: str, *changes: tuple[str, str], more: dict[str, str] | None = None) -> PluginSet:
        code = written[kind]
        for old, new in changes:
            assert code.count(old) >= 1, f"the generated {kind} has no {old!r}"
            code = code.replace(old, new)
        put("crossagent_good", written["good"])
        put("crossagent_bad", code)
        entries = [entry("bad", "crossagent_bad"), entry("good", "crossagent_good")]
        for name, content in (more or {}).items():
            put(f"crossagent_{name}", content)
            entries.append(entry(name.removesuffix("_too"), f"crossagent_{name}"))
        plugins = load_plugins(entries)
        assert plugins.build_space("good").header == "Good:", "another plugin's mistake must not stop this one"
        return plugins

    yield loading
    for module in modules:
        sys.modules.pop(module, None)


# -- found while plugins load --------------------------------------------------------------------------------------
AT_LOAD = {
    "misspelt hook": Mistake("crossagent_action_spaces", "crossagent_action_space", "unknown hook 'crossagent_action_space'", "Did you mean 'crossagent_action_spaces'?"),
    "hook without its marker": Mistake("@ca.hookimpl\n", "", "has no hook marked with @hookimpl", "put @hookimpl on crossagent_action_spaces"),
    "hook that raises": Mistake('doc = "A skill', 'open("/no/such/file"); doc = "A skill', "crossagent_action_spaces raised FileNotFoundError", "leave what can fail to the factory"),
    "hook that wants arguments": Mistake("def crossagent_action_spaces()", "def crossagent_action_spaces(config)", "config", "hooks take no arguments"),
    "hook that returns no list": Mistake('return [ca.ActionSpaceSpec("bad", "1", ("skills",), "Bad:", "crossagent_bad:BadSpace", doc)]', 'return ca.ActionSpaceSpec("bad", "1", ("skills",), "Bad:", "crossagent_bad:BadSpace", doc)', "returned ActionSpaceSpec", "expected a list of ActionSpaceSpec"),
    "hook that returns something else": Mistake("return [ca.ActionSpaceSpec(", "return [dict(name='bad')] or [ca.ActionSpaceSpec(", "returned a list with {'name': 'bad'}", "expected ActionSpaceSpec"),
    "import of what is not installed": Mistake("import re\n", "import re\n\nimport no_such_package\n", "No module named 'no_such_package'", "install 'no_such_package'"),
    "import that raises": Mistake(STATED, "1 / 0", "ZeroDivisionError while it was imported", "`python -c 'import crossagent_bad'` shows the traceback"),
    "import that exits": Mistake(STATED, "raise SystemExit(3)", "SystemExit while it was imported", "shows the traceback"),
    "a newer contract": Mistake(STATED, 'CROSSAGENT_CONTRACT = "2.0"', f"written for contract 2.0, this crossagent has contract {CONTRACT}", "upgrade crossagent"),
    "an older contract": Mistake(STATED, 'CROSSAGENT_CONTRACT = "0.9"', "Changed since: 1.0: the hooks", f"set CROSSAGENT_CONTRACT = {CONTRACT!r}"),
    "a contract that is no version": Mistake(STATED, "CROSSAGENT_CONTRACT = 1", "CROSSAGENT_CONTRACT is 1", f"expected 'MAJOR.MINOR' as a string, e.g. {CONTRACT!r}"),
    "a name with capitals": Mistake(SPACE_SPEC, '"Bad", "1", ("skills",), "Bad:"', "ActionSpaceSpec 'Bad'", "a name is lower-case letters, digits and _"),
    "a name that recipes use": Mistake(SPACE_SPEC, '"mixed", "1", ("skills",), "Bad:"', "recipes call the agent of all spaces 'mixed'", "take another name"),
    "one interface instead of a tuple": Mistake(SPACE_SPEC, '"bad", "1", "skills", "Bad:"', "requires is 'skills'", "expected a tuple of interface names, e.g. ('control',)"),
    "no header": Mistake(SPACE_SPEC, '"bad", "1", ("skills",), " "', "header is ' '", "expected some text such as 'Toy:'"),
    "a factory written with a dot": Mistake("crossagent_bad:BadSpace", "crossagent_bad.BadSpace", "factory is 'crossagent_bad.BadSpace'", "expected 'module:Name'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", AT_LOAD.values(), ids=list(AT_LOAD))
def test_a_mistake_is_named_while_plugins_load(mistake: Mistake, load: Load) -> None:
    plugins = load("space", mistake[:2])
    (failure,) = plugins.failures
    assert (failure.name, failure.origin.distribution) == ("bad", "crossagent-bad")
    assert mistake.wrong in failure.reason
    assert mistake.fix in failure.reason
    with pytest.raises(PluginError, match="crossagent-bad failed"):
        check_plugin(plugins, "bad")


def test_two_plugins_of_one_name_are_refused_both(load: Load) -> None:
    plugins = load("space", more={"bad_too": ""})
    assert [failure.origin.distribution for failure in plugins.failures] == ["crossagent-bad", "crossagent-bad-too"]
    for failure in plugins.failures:
        assert "claim the plugin name 'bad': crossagent-bad (crossagent_bad) and crossagent-bad-too" in failure.reason
        assert "uninstall one" in failure.reason


def test_two_plugins_with_one_space_are_refused_both(load: Load, written: dict[str, str]) -> None:
    plugins = load("space", more={"worse": written["space"].replace("crossagent_bad:", "crossagent_worse:")})
    assert [failure.name for failure in plugins.failures] == ["bad", "worse"]
    assert "action space 'bad' is also declared by 'worse' (crossagent-worse)" in plugins.failures[0].reason
    assert "rename it or uninstall one package" in plugins.failures[0].reason


# -- found when they are built or put together ---------------------------------------------------------------------
WHEN_BUILT = {
    "a factory that is not there": Mistake("crossagent_bad:BadSpace", "crossagent_bad:Space", "cannot load 'crossagent_bad:Space'", "let its declaration name what is there"),
    "no cost": Mistake("def cost(", "def price(", "crossagent_bad:BadSpace lacks cost", "define it"),
    "class and declaration disagree": Mistake('Spec("bad", "1", ("skills",), "Bad:"', 'Spec("bad", "1", ("skills",), "Worse:"', "declares header='Worse:', crossagent_bad:BadSpace has 'Bad:'", "make them equal"),
    "an interface that nobody offers": Mistake('("skills",)', '("skill",)', "no installed environment offers all of ['skill']", "Did you mean 'skills'?"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WHEN_BUILT.values(), ids=list(WHEN_BUILT))
def test_a_mistake_is_named_when_the_plugin_is_built(mistake: Mistake, load: Load) -> None:
    plugins = load("space", mistake[:2])
    with pytest.raises(PluginError) as said:
        check_plugin(plugins, "bad")
    assert mistake.wrong in str(said.value)
    assert mistake.fix in str(said.value)


def test_two_spaces_whose_headers_open_one_another(load: Load) -> None:
    plugins = load("space", ("Bad:", "Good: now:"))
    (finding,) = check_plugin(plugins, "bad")
    assert finding.rule == "header"
    assert "'Good: now:' and 'Good:' of the installed space 'good' open one another" in finding.message
    assert "take another header" in finding.message
    with pytest.raises(PluginError, match="share the header"):
        plugins.build_space_set({"bad": {}, "good": {}})
    on_purpose = plugins.with_(space=replace(plugins.space("bad"), instead_of=("good",)))
    assert not check_plugin(on_purpose, "bad")
    assert not check_plugin(on_purpose, "good")
    with pytest.raises(PluginError, match="share the header"):
        on_purpose.build_space_set({"bad": {}, "good": {}})
    with pytest.raises(PluginError, match="instead_of is 'good'; expected a tuple"):
        plugins.with_(space=replace(plugins.space("bad"), instead_of="good"))


# -- found by `crossagent check` -----------------------------------------------------------------------------------
EXECUTE = "        times, name, *args = action.payload\n"
CALLS = "                for _ in range(times):\n                    skills.call(name, *args)\n"
DECODE = "        if not (read := TEXT.fullmatch(text)):\n"
COST = "return 1.0 + 0.05 * outcome.ticks"
FROM_CALLS = (
    '        own = [tuple(c.args) for c in calls if (c.interface, c.method) == ("skills", "call") and c.args]\n'
)
IN_A_SPACE = {
    "decode is no inverse of encode": Mistake('return f"Bad: {times}x ', 'return f"Bad: {times} x ', "decodes and encodes to", "let the grammar generate canonical texts only", "round-trip"),
    "decode forgets a part": Mistake("(int(read[1]), read[2], *", "(1, read[2], *", "decodes and encodes to", "canonical texts only", "round-trip"),
    "decode is narrower than the grammar": Mistake('"Bad: " /[1-9]/', '"Bad: " /[0-9]/', "but decode says", "make the two agree", "round-trip"),
    "decode raises": Mistake(DECODE, "        int(text[5])\n" + DECODE, "decode('') raised IndexError", "return InvalidAction(reason, span)", "decode-is-total"),
    "decode depends on chance": Mistake(DECODE, "        import random\n\n        if random.random() < 0.5:\n            text = text.replace('2x', '3x')\n" + DECODE, "decode draws from the global random generator", "it must not", "decode-is-pure"),
    "decode accepts other headers": Mistake('re.compile(r"Bad: ', 're.compile(r"\\w+: ', "accepts a text without the header 'Bad:'", "a header elsewhere is no action", "decode-is-total"),
    "grammar that does not parse": Mistake('"x " ({" | ".join(calls)})', '"x " ({" | ".join(calls)}', "the grammar does not load", "write it in Lark's syntax, with the start rule bad_response", "grammar-parses"),
    "grammar terminal without the prefix": Mistake('/[1-9]/ "x " ({" | ".join(calls)})', 'DIGIT "x " ({" | ".join(calls)})\\nDIGIT: /[1-9]/', "grammar terminal 'DIGIT' may collide with another space's", "call it BAD_DIGIT", "grammar-parses"),
    "grammar rule without the prefix": Mistake('"x " ({" | ".join(calls)})', '"x " call\\ncall: {" | ".join(calls)}', "grammar rule 'call' may collide with another space's", "call it bad_call", "grammar-parses"),
    "prompt without the header": Mistake('return f"Bad: does a skill 1 to 9 times, e.g. Bad: 2x', 'return f"Do a skill 1 to 9 times, e.g. 2x', "does not name the header 'Bad:'", "the model cannot know it otherwise", "prompt-fragment"),
    "an interface that is not required": Mistake('skills = env.interface("skills")\n        kinds', 'env.interface("pointer")\n        skills = env.interface("skills")\n        kinds', "needs the interface 'pointer', which requires = ('skills',) does not list", "add it there and in the spec", "interfaces-required"),
    "an executor without an end": Mistake(CALLS, "                while True:\n                    try:\n                        skills.list()\n                    except Exception:\n                        pass\n", "no end after 2 s: a loop that waits for the world must also stop at env.over", "rules after this one were not run", "execution"),
    "an executor that raises": Mistake("if kinds.get(name) != [isinstance(arg, int) for arg in args]:", "if False:", "an action that cannot be done is an outcome with error", "raise SkillFailed", "execution"),
    "an executor that counts its own ticks": Mistake("return ca.carry_out(env, act)", "import dataclasses\n\n        return dataclasses.replace(ca.carry_out(env, act), ticks=7)", "reports 7 ticks", "use carry_out", "execution"),
    "state kept between episodes": Mistake(EXECUTE, EXECUTE + "        done = vars(self).setdefault('done', [])\n        done.append(name)\n        times = 1 if len(done) % 2 else 9\n        name = name if len(done) % 2 else 'nothing'\n", "leads to two different states from one", "draw from the world's generator, never a global one", "execution-is-deterministic"),
    "negative cost": Mistake(COST, "return 1.0 - outcome.ticks", "the cost of", "return a finite number ≥ 0", "cost"),
    "cost that is no number": Mistake(COST, "return float('nan')", "is nan", "return a finite number ≥ 0", "cost"),
    "cost that depends on earlier calls": Mistake(COST, "self.calls = getattr(self, 'calls', 0) + 1\n        return float(self.calls)", "for the same outcome", "keep no state between calls", "cost"),
    "cost that was forgotten": Mistake(COST, "pass", "is None", "return a finite number ≥ 0", "cost"),
    "special token with a blank": Mistake("    def encode(", "    def special_tokens(self):\n        return ('<|bad go|>',)\n\n    def encode(", "has a blank in it", "write it like '<|bad_go|>'", "special-tokens-declared"),
    "special token of the model": Mistake("    def encode(", "    def special_tokens(self):\n        return ('<|im_end|>',)\n\n    def encode(", "is one that models use themselves", "call it '<|bad_…|>'", "special-tokens-declared"),
    "special tokens that hide one another": Mistake("    def encode(", "    def special_tokens(self):\n        return ('bad', 'badly')\n\n    def encode(", "'bad' is part of 'badly'", "give them names of their own", "special-tokens-declared"),
    "lower that changes the world": Mistake("    def cost(", "    def lower(self, action, env, horizon=1):\n        self.executor.execute(action, env)\n        return ()\n\n    def cost(", "changes the world", "let env.restore(snapshot) bring everything back", "lowering"),
    "from_calls that raises": Mistake(FROM_CALLS, "        calls[0]\n" + FROM_CALLS, "IndexError", "leave out what the space cannot express", "calls-become-actions"),
    "from_calls that drops everything": Mistake(FROM_CALLS, FROM_CALLS.replace('"call")', '"do")'), "makes no action of any of", "turn such calls back into actions", "calls-become-actions"),
    "from_calls that writes what the grammar lacks": Mistake("(min(9, len([*same])), *words)", "(0, *words)", "which decodes to another action", "normalise it there", "calls-become-actions"),
    "a payload that is no JSON": Mistake("read[3].split())))", "read[3].split())).__class__([int(read[1]), read[2], {*read[3].split()}]))", "is no JSON", "use numbers, strings, tuples, dicts", "payload-is-json"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", IN_A_SPACE.values(), ids=list(IN_A_SPACE))
def test_a_mistake_in_a_space_is_named_by_its_check(
    mistake: Mistake, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossagent.testing.checks.findings._RULE_S", 2.0)
    plugins = load("space", mistake[:2])
    assert not plugins.failures
    found = [f for f in check_plugin(plugins, "bad") if f.rule == f"{mistake.rule} (on toy)"]
    assert [f for f in found if mistake.wrong in f.message and mistake.fix in f.message], found


STATE = "return hashlib.blake2b(repr(self.snapshot())"
IN_AN_ENVIRONMENT = {
    "state_hash without the generator": Mistake(STATE, STATE.replace("self.snapshot()", "(self.task, self.place, self.flag, self.episode_state())"), "state_hash is the same after env.rng has drawn a number", "hash env.rng.getstate() too", "hash-sees-generators"),
    "state_hash without the clock": Mistake(STATE, STATE.replace("self.snapshot()", "(self.task, self.rng.getstate()[1][:3])"), "state_hash did not change in", "hash everything, episode_state() included", "hash-follows-state"),
    "a start that the seed does not decide": Mistake('random.Random(f"{task.name}/{seed}")', "random.Random()", "gives two different states", "seed everything from (task, seed) in reset", "same-seed-same-state"),
    "a seed without effect": Mistake('{task.name}/{seed}"', '{task.name}"', "state_hash is the same for all seeds", "let the seed vary the start", "seeds-matter"),
    "the global generator": Mistake("if self.rng.random() < 0.1", "if random.random() < 0.1", "the world draws from the global random generator", "give it one of its own", "world-is-deterministic"),
    "a reset that leaves the log": Mistake("        self.begin_episode()\n", "", "something of the last episode is left", "call self.begin_episode() first", "reset-starts-afresh"),
    "a reset that leaves the place": Mistake("self.place = self.rng", "self.place = self.__dict__.get('place') or self.rng", "gives two different states", "seed everything from (task, seed) in reset", "same-seed-same-state"),
    "a restore without the generator": Mistake("        self.rng.setstate(rng)\n", "", "restore gives another state", "copy what a tick changes", "snapshot-is-exact"),
    "a restore without the log": Mistake("        self.restore_episode_state(episode)\n", "", "restore gives another state", "call restore_episode_state()", "snapshot-is-exact"),
    "looking that changes something": Mistake("        way = self.flag - self.place\n        return ca.Obs", "        self.rng.random()\n        way = self.flag - self.place\n        return ca.Obs", "observe() or anchor_key() changes the state", "compute, do not store", "observing-changes-nothing"),
    "a tick that is not counted": Mistake("self.begin_tick(raw)", "self.tick_log.append(raw)", "ticks within tick_limit(2)", "call begin_tick first in each tick", "tick-limit-is-kept"),
    "an episode without an end": Mistake("self.truncated = not", "self.unused = not", "not over after 65 idle ticks", "set truncated at max_ticks (60)", "time-runs-out"),
    "a world that goes on when it is over": Mistake("if self.over:", "if self.terminated:", "the world goes on after the episode is over", "return at once from a tick when self.over", "over-means-no-ops"),
    "an interface that is not there": Mistake('interfaces=("control",)', 'interfaces=("control", "pointer")', "interface('pointer') raises KeyError", "offer it or leave it out", "interfaces-are-there"),
    "an interface that lacks a method": Mistake("def buttons(", "def knobs(", "the interface 'control' lacks buttons", "see Control in crossagent.plugin", "interfaces-are-there"),
    "keys in disorder": Mistake('return ("a", "d")', 'return ("d", "a")', "keys() is ['d', 'a']", "return it sorted, each once", "control-is-well-formed"),
    "two tasks of one name": Mistake('f"reach:{name}", "reach"', '"reach", "reach"', "task 'reach' is there twice", "give each a name of its own", "tasks-are-well-formed"),
    "no task that can be solved": Mistake("60, splits)", "60, splits, False, 'too far')", "no task is solvable", "list at least one Task(…, solvable=True)", "suite"),
    "an unseen task that is trained": Mistake('(7, ("ood",))', '(7, ("ood", "train"))', "`ood` means never trained nor demonstrated", "take one of the two out", "tasks-are-well-formed"),
    "a set-up that is no JSON": Mistake('{"distance": away}', '{"distance": away, "of": {away}}', "setup is no JSON", "use numbers, strings, lists, dicts", "tasks-are-well-formed"),
    "a suite that knows no names": Mistake("return ca.TaskList(", "return type('Loose', (ca.TaskList,), {'get': lambda self, name: self._by_name.get(name)})(", "get('no such task') returns something", "raise KeyError", "tasks-can-be-found"),
    "an expert that acts": Mistake("        way = env.flag - env.place\n        return [ca.Call", "        env.interface('control').step()\n        way = env.flag - env.place\n        return [ca.Call", "propose changes the world", "only look, or work on a snapshot", "experts-propose-calls"),
    "a name of another world": Mistake('    name = "bad"\n', '    name = "worse"\n', "name is 'worse', the spec declares 'bad'", "make them equal", "names-agree"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", IN_AN_ENVIRONMENT.values(), ids=list(IN_AN_ENVIRONMENT))
def test_a_mistake_in_an_environment_is_named_by_its_check(mistake: Mistake, load: Load) -> None:
    plugins = load("environment", mistake[:2])
    assert not plugins.failures
    found = [f for f in check_plugin(plugins, "bad") if f.rule == mistake.rule]
    assert [f for f in found if mistake.wrong in f.message and mistake.fix in f.message], found


def test_an_expert_for_what_is_not_offered_is_named_at_load(load: Load) -> None:
    (failure,) = load("environment", ('experts={"control"', 'experts={"pointer"')).failures
    assert "experts for ['pointer'], which are none of its interfaces ('control',)" in failure.reason


@pytest.mark.parametrize("kind", ["space", "environment"])
def test_without_a_mistake_nothing_is_found(kind: str, load: Load) -> None:
    plugins = load(kind)
    assert not plugins.failures
    assert check_plugin(plugins, "bad") == []
    assert check_plugin(plugins, "good") == []
