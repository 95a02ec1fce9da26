"""What the experts reach: success per space and category, played through the spaces exactly as demonstrations are.

``python -m crossagent_craftworld.ceilings --split train --seeds 5`` prints a table. A ceiling below 1 is what the
limits of that interface cost (see docs/craftworld-interfaces.md); ``mixed`` shows that each task can be done at all.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from crossagent.plugin import ActionSpace, ActionSpaceSpec, Environment, EnvironmentSpec, Expert, ExpertStuck, Task

MIXED = "mixed"
_GIVE_UP = 6
"""An episode ends after so many failed actions in a row."""


@dataclass
class Ceiling:
    """Episodes of one kind and category."""

    episodes: int = 0
    successes: int = 0
    turns: int = 0
    """Of the successful episodes."""
    ticks: int = 0
    """Of the successful episodes."""
    ends: Counter[str] = field(default_factory=Counter)
    """Why the others ended."""

    @property
    def success(self) -> float:
        """Share of episodes that succeeded."""
        return self.successes / max(self.episodes, 1)


@dataclass(frozen=True)
class Played:
    """One episode."""

    success: bool
    turns: int
    ticks: int
    end: str
    """terminated, max_ticks, max_turns, or why the experts were stuck."""
    log: tuple[str, ...] = ()
    """The actions' texts, with their errors."""


def _load(path: Any) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def installed_spaces(wanted: Sequence[str] = ()) -> dict[str, ActionSpace]:
    """Build the installed action spaces (those named, else api, gui and control) with their default options."""
    specs: dict[str, ActionSpaceSpec] = {}
    for point in entry_points(group="crossagent"):
        hook = getattr(point.load(), "crossagent_action_spaces", None)
        specs |= {spec.name: spec for spec in hook()} if hook else {}
    names = wanted or [name for name in ("api", "gui", "control") if name in specs]
    return {name: _load(specs[name].factory)() for name in names}


def _propose(env: Environment, space: ActionSpace, experts: dict[str, Expert]) -> tuple[Any, str]:
    why = f"no expert for {', '.join(space.requires)}"
    for interface in space.requires:
        if interface in experts:
            try:
                actions = space.from_calls(experts[interface].propose(env), env)
            except ExpertStuck as stuck:
                why = str(stuck)
                continue
            if actions:
                return actions[0], ""
            why = "nothing this space can express"
    return None, why


def play(
    env: Environment, spaces: dict[str, ActionSpace], experts: dict[str, Expert], task: Task, seed: int, kind: str
) -> Played:
    """Play one episode with the experts of one space, or of all of them in turns (``mixed``)."""
    digest = hashlib.blake2b(f"{task.name}:{seed}:{kind}".encode(), digest_size=8).digest()
    draw = random.Random(int.from_bytes(digest, "little"))
    mixture = list(spaces) if kind == MIXED else [kind]
    env.reset(task, seed)
    log: list[str] = []
    current, failures, why = "", 0, ""
    for turn in range(task.max_turns):
        order = draw.sample(mixture, len(mixture))
        if draw.random() < 0.5:
            order.sort(key=lambda name: name != current)
        if failures:
            order.sort(key=lambda name: name == current)
        action = None
        for name in order:
            action, why = _propose(env, spaces[name], experts)
            if action is not None:
                break
        if action is None or failures >= _GIVE_UP:
            return Played(False, turn, len(env.tick_log), f"stuck: {why or log[-1]}", tuple(log))
        current = action.space
        outcome = spaces[current].executor.execute(action, env)
        log.append(spaces[current].tokenizer.encode(action) + (f"  !! {outcome.error}" if outcome.error else ""))
        failures = failures + 1 if outcome.error else 0
        if env.over:
            end = "success" if env.success else "died" if env.terminated else "max_ticks"
            return Played(env.success, turn + 1, len(env.tick_log), end, tuple(log))
    return Played(False, task.max_turns, len(env.tick_log), "max_turns", tuple(log))


def measure(
    tasks: Sequence[Task], seeds: Sequence[int], kinds: Sequence[str] = (), **options: Any
) -> dict[tuple[str, str], Ceiling]:
    """Play every (kind, task, seed), each space with its default options; returns (kind, category) → ceiling, ``all`` for all categories together."""
    import crossagent_craftworld

    spec: EnvironmentSpec = crossagent_craftworld.crossagent_environments()[0]
    spaces = installed_spaces(() if MIXED in kinds else kinds)
    experts: dict[str, Expert] = {interface: _load(path)() for interface, path in spec.experts.items()}
    env: Environment = _load(spec.factory)(**options)
    out: dict[tuple[str, str], Ceiling] = defaultdict(Ceiling)
    for kind in kinds or (*spaces, MIXED):
        for task in tasks:
            for seed in seeds:
                played = play(env, spaces, experts, task, seed, kind)
                for key in ((kind, task.category), (kind, "all"), (kind, task.name)):
                    row = out[key]
                    row.episodes += 1
                    if played.success:
                        row.successes += 1
                        row.turns += played.turns
                        row.ticks += played.ticks
                    else:
                        row.ends[played.end] += 1
    return dict(out)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    from crossagent_craftworld.suite import suite

    parser = argparse.ArgumentParser(prog="python -m crossagent_craftworld.ceilings", description=__doc__)
    parser.add_argument("--split", default="", help="train, demo or ood; all solvable tasks without it")
    parser.add_argument("--seeds", type=int, default=3, help="episodes per task")
    parser.add_argument("--first-seed", type=int, default=10_000)
    parser.add_argument(
        "--kinds",
        nargs="*",
        default=[],
        help="spaces by name, or mixed: api, gui and control in turns; these four without it",
    )
    parser.add_argument("--task", default="", help="only tasks whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="only every n-th task of each category")
    parser.add_argument("--reasons", action="store_true", help="print why episodes failed, and which tasks")
    args = parser.parse_args(argv)
    tasks = [t for t in suite().tasks() if t.solvable and args.task in t.name]
    if args.split:
        tasks = [t for t in tasks if args.split in t.splits]
    tasks = [
        t for c in sorted({t.category for t in tasks}) for t in [t for t in tasks if t.category == c][:: args.every]
    ]
    rows = measure(tasks, range(args.first_seed, args.first_seed + args.seeds), args.kinds)
    categories = [*sorted({t.category for t in tasks}), "all"]
    kinds = list(dict.fromkeys(kind for kind, _ in rows))
    print("| space | " + " | ".join(categories) + " | turns | ticks |\n|" + "---|" * (len(categories) + 3))
    for kind in kinds:
        total = rows[kind, "all"]
        cells = [f"{rows[kind, c].success:.2f}" for c in categories]
        per = max(total.successes, 1)
        print(f"| {kind} | {' | '.join(cells)} | {total.turns / per:.1f} | {total.ticks / per:.0f} |")
    print(f"{len(tasks)} tasks × {args.seeds} seeds")
    if args.reasons:
        for kind in kinds:
            for category in categories[:-1]:
                print(f"\n{kind} {category}: {dict(rows[kind, category].ends.most_common(8))}")
            failed = [(rows[kind, t.name].success, t.name.split(":")[-1]) for t in tasks if rows[kind, t.name].ends]
            print("  " + ", ".join(f"{name} {share:.1f}" for share, name in sorted(failed)[:60]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
