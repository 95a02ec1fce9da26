"""The command line. Parses, calls one function per command, and is the only place that prints results.

Nothing heavy is imported at the top: ``--help`` and the listings answer without torch. What is the user's to fix is a
:class:`CrossAgentError`: one message, exit code 2, no traceback. Anything else is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossagent import __version__, launch
from crossagent.errors import CrossAgentError, StageInterrupted
from crossagent.launch import FAILED, INTERRUPTED, TERMINATED, USER_ERROR, Kind, Launch

if TYPE_CHECKING:
    from rich.console import Console

    from crossagent.recipe.checks import CheckedRecipe

FAILED_CHECK = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 (a check failed), 2 (the user's to fix),
    130 (interrupted), 143 (SIGTERM, after a resume point was written).

    Of several processes that a launcher started, all run a recipe together; of any other command the first runs it, and the
    others return 0 at once.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        here = Launch.current()
    except CrossAgentError as error:
        print(f"crossagent: {error}", file=sys.stderr)
        return USER_ERROR
    if not here.first and words[:1] != ["run"]:
        return 0
    here.watch_launcher()
    return _main(words, here)


def _main(words: list[str], here: Launch) -> int:
    args = argparse.Namespace()

    def ended(kind: Kind, message: str, code: int, before: str = "") -> int:
        if here.says(kind, message, code):
            _print_error(args, message, before)
        return code

    try:
        of_a_plugin = _plugin_command(words)
        if of_a_plugin is not None:
            return int(of_a_plugin(words[1:]) or 0)
        args = _parse(words)
        args.words = words
        return int(args.command(args))
    except StageInterrupted as stopped:
        return ended("stopped", str(stopped), TERMINATED)
    except CrossAgentError as error:
        return ended("error", str(error), USER_ERROR)
    except KeyboardInterrupt:
        return ended("interrupted", launch.INTERRUPTION, INTERRUPTED, "\n")
    except BrokenPipeError:  # the reader of our output has gone (``| head``)
        sys.stderr.close()
        return 0
    except Exception as error:
        if here.size == 1:
            raise
        if launch.lost_contact(error):
            return ended("lost", launch.LOST, FAILED)
        if here.says("bug", traceback.format_exc(), FAILED):
            raise
        return FAILED


def _parse(words: list[str]) -> argparse.Namespace:
    parser = build_parser()
    args, rest = parser.parse_known_args(words)
    # argparse gives up on words that follow an option; where changes are taken they are ours all the same.
    stray = [word for word in rest if word.startswith("-") or not hasattr(args, "overrides")]
    if stray:
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def own_commands() -> dict[str, str]:
    """Return name → one line, of every command that is not a plugin's."""
    subparsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {choice.dest: choice.help or "" for choice in subparsers._choices_actions}


def _plugin_command(words: list[str]) -> Callable[[list[str]], Any] | None:
    """Return the plugin's function for a command that is none of ours; plugins are loaded in that case only."""
    if not words or words[0].startswith("-") or words[0] in (own := own_commands()):
        return None
    from crossagent.registry.plugin_set import load_plugins

    return load_plugins().command(words[0], tuple(own))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="crossagent",
        description="Train one language model that decides, turn by turn, at which level to act.",
        epilog="Start with: crossagent run recipes/quickstart.yaml. Plugins may add commands: crossagent plugins lists them.",
    )
    parser.add_argument("--version", action="version", version=f"crossagent {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a recipe: all stages; the same command continues a stopped run")
    run.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file, e.g. recipes/quickstart.yaml")
    run.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="CHANGE",
        help="KEY=VALUE, e.g. seed=1 spaces.api.weight=0.1 stages.0=sft; or an overlay, e.g. recipes/debug/one_step.yaml",
    )
    run.add_argument("--print-config", action="store_true", help="print the composed recipe and stop")
    run.add_argument("--dry-run", action="store_true", help="check the recipe, say what would run, and stop")
    _progress_options(run)
    run.set_defaults(command=_run)

    plan = commands.add_parser(
        "plan", help="say what memory, time and money a recipe will need; refuse what cannot fit"
    )
    plan.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file, e.g. recipes/quickstart.yaml")
    plan.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="CHANGE",
        help="as for run, e.g. plan.hardware=h100 trainer.devices=8 plan.price_per_device_hour=3",
    )
    plan.add_argument("--calibrate", type=Path, metavar="RUN", help="measure what is reached of this hardware on a run")
    plan.add_argument("--json", action="store_true", help="print JSON: bytes and seconds")
    plan.set_defaults(command=_plan)

    evaluate = commands.add_parser("eval", help="evaluate a run or a checkpoint")
    evaluate.add_argument("target", type=Path, metavar="RUN_OR_CHECKPOINT", help="e.g. runs/quickstart")
    evaluate.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the run's recipe")
    evaluate.add_argument("--suite", action="append", metavar="NAME", help="only this suite (may be repeated)")
    evaluate.add_argument("--spaces", metavar="A,B", help="only these spaces, e.g. api or api,gui")
    evaluate.add_argument("--episodes", type=int, metavar="N", help="episodes per suite")
    evaluate.add_argument("--recipe", type=Path, help="the recipe, where the checkpoint lies outside a run")
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    _progress_options(evaluate)
    evaluate.set_defaults(command=_eval)

    report = commands.add_parser("report", help="write a page about a run, or about several side by side")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="e.g. runs/quickstart")
    report.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: RUN/report.html; of several runs: ./report.html"
    )
    report.add_argument("--open", action="store_true", help="open it in a browser")
    report.add_argument("--json", action="store_true", help="print its data as JSON; writes a page only with -o")
    report.set_defaults(command=_report)

    sync = commands.add_parser("sync", help="send to MLflow what a run logged while the server was away")
    sync.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="e.g. runs/quickstart")
    sync.add_argument("--uri", help="another tracking URI: it gets the whole run")
    sync.add_argument("--json", action="store_true", help="print JSON")
    sync.set_defaults(command=_sync)

    plugins = commands.add_parser(
        "plugins",
        help="list what plugins bring: spaces, environments, samplers, commands; and those that failed to load",
    )
    plugins.add_argument("--trace", action="store_true", help="also show each import and hook call, and what it took")
    plugins.add_argument("--json", action="store_true", help="print JSON")
    plugins.set_defaults(command=_plugins)

    tasks = commands.add_parser("tasks", help="list an environment's tasks")
    tasks.add_argument("environment", metavar="ENV", help="e.g. craftworld")
    tasks.add_argument("--split", metavar="NAME", help="only the tasks of this split")
    tasks.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of environment.options, e.g. tasks=long"
    )
    tasks.add_argument("--json", action="store_true", help="print JSON")
    tasks.set_defaults(command=_tasks)

    check = commands.add_parser("check", help="test an installed action space or environment against the contract")
    check.add_argument("name", metavar="NAME", help="an action space or an environment, as `plugins` lists it")
    check.add_argument("--environment", metavar="ENV", help="check a space on this one only (default: all that fit)")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(command=_check)

    for kind in ("space", "environment"):
        article = "an action space" if kind == "space" else "an environment"
        new = commands.add_parser(
            f"new-{kind}", help=f"write a package with {article} that passes `check`, to start from"
        )
        new.add_argument("name", metavar="NAME", help="lower-case letters, digits and _")
        new.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: crossagent-NAME")
        new.set_defaults(command=_new, kind=kind)

    export = commands.add_parser("export", help="write a checkpoint as a plain transformers model directory")
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a run or a checkpoint directory")
    export.add_argument("directory", type=Path, metavar="DIR", help="where to write; must not exist or be empty")
    export.add_argument(
        "--adapter",
        action="store_true",
        help="of a LoRA checkpoint: write the adapters alone, as PEFT does (default: merged)",
    )
    export.set_defaults(command=_export)

    doctor = commands.add_parser(
        "doctor", help="say what is installed, what the machine has, and what is missing for what"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=_doctor)

    view = commands.add_parser("view", help="write a run's trajectories as one HTML file to look at")
    view.add_argument("run", type=Path, metavar="RUN", help="e.g. runs/quickstart; it may still be running")
    view.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: RUN/viewer.html")
    view.add_argument(
        "--max", type=int, metavar="N",
        help="at most so many, whole groups spread evenly (default: 1,000, and no more than hold 64 MiB of images)",
    )  # fmt: skip
    view.add_argument("--open", action="store_true", help="open it in the browser")
    view.add_argument("--json", action="store_true", help="print JSON: file, trajectories shown, trajectories in all")
    view.set_defaults(command=_view)

    render = commands.add_parser("render", help="write one episode as GIF or MP4")
    render.add_argument("run", type=Path, metavar="RUN", help="e.g. runs/quickstart")
    render.add_argument("trajectory", metavar="TRAJECTORY", help="its name in `view`, e.g. mtrl/12/3.1")
    render.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="ends in .gif or .mp4; default: in RUN/episodes"
    )
    render.add_argument("--seconds", type=float, default=1.0, metavar="S", help="how long a turn is shown (default: 1)")
    render.set_defaults(command=_render)

    replay = commands.add_parser(
        "replay", help="execute stored trajectories once more, and say where they first differ from what is stored"
    )
    replay.add_argument("run", type=Path, metavar="RUN", help="e.g. runs/quickstart; it may still be running")
    replay.add_argument(
        "trajectory", nargs="?", metavar="TRAJECTORY", help="its name in `view`, e.g. mtrl/12/3.1 (default: all)"
    )
    replay.add_argument("--max", type=int, metavar="N", help="at most so many, whole groups spread evenly")
    replay.add_argument("--json", action="store_true", help="print JSON")
    replay.set_defaults(command=_replay)

    watch = commands.add_parser("watch", help="follow a run in the browser: curves and newest episodes, on loopback")
    watch.add_argument("run", type=Path, metavar="RUN", help="e.g. runs/quickstart; running, stopped or complete")
    watch.add_argument("--port", type=int, metavar="N", help="of 127.0.0.1 (default: 8707; 0: any free one)")
    watch.add_argument("--open", action="store_true", help="open it in the browser")
    watch.add_argument("--text", action="store_true", help="on this terminal instead; once, if it is none")
    watch.set_defaults(command=_watch)
    return parser


def _progress_options(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--quiet", dest="mode", action="store_const", const="quiet", help="only the final table, and warnings"
    )
    how.add_argument(
        "--json-log", dest="mode", action="store_const", const="json",
        help="progress, warnings and errors as one JSON object per line on standard error (docs/tracking.md)",
    )  # fmt: skip
    parser.set_defaults(mode="auto")


# -- commands -------------------------------------------------------------------------------------------------------
def _run(args: argparse.Namespace) -> int:
    from crossagent.recipe.checks import validate
    from crossagent.recipe.compose import to_yaml
    from crossagent.recipe.schema import load_recipe
    from crossagent.registry.plugin_set import load_plugins

    here = Launch.current()
    if not here.first and (args.print_config or args.dry_run):
        return 0
    recipe = load_recipe(args.recipe, args.overrides)
    if args.print_config:
        print(to_yaml(recipe), end="")
        return 0
    plan = validate(recipe, load_plugins())
    if args.dry_run:
        _dry_run(plan, args)
        return 0
    from crossagent.pipeline.directory import RunDirectory

    begun = here.size == 1 and (recipe.run_directory / "state.json").is_file()
    if begun and (directory := RunDirectory.open(recipe)).complete:
        from crossagent.tracking.summary import show_complete

        show_complete(directory.path, _console())
        if recipe.tracking.mlflow:
            from crossagent.tracking.mlflow.sender import sync
            from crossagent.tracking.mlflow.tracker import tracking_uri

            sync(directory.path, tracking_uri(recipe.tracking.uri, directory.path))  # what a server missed, if any
        return 0
    if here.size == 1 and recipe.trainer.processes > 1:
        ended = launch.start(args.words, recipe.trainer)
        if ended.bug:
            print(ended.message, end="", file=sys.stderr)
        elif ended.message:
            _print_error(args, ended.message, "\n" * (ended.code == INTERRUPTED))
        return ended.code
    from crossagent.pipeline.recipe_run import run

    run(plan, _console(), args.mode)
    return 0


def _dry_run(plan: CheckedRecipe, args: argparse.Namespace) -> None:
    from crossagent.estimate import estimate

    for line in plan.describe():
        print(line)
    try:
        for line in (expected := estimate(plan)).describe():
            print(line)
        for problem in expected.problems():
            print(f"does not fit {problem}")
    except CrossAgentError as error:  # what is not known about a model must not keep anybody from checking the rest
        print(f"not planned  {error}")
    print(f"start        {launch.command_line(['run', str(args.recipe), *args.overrides], plan.recipe.trainer)}")


def _plan(args: argparse.Namespace) -> int:
    from crossagent.estimate import estimate
    from crossagent.recipe.checks import validate
    from crossagent.recipe.schema import load_recipe
    from crossagent.registry.plugin_set import load_plugins

    expected = estimate(validate(load_recipe(args.recipe, args.overrides), load_plugins()), args.calibrate)
    if args.json:
        _print_json(expected.as_dict())
    else:
        for line in expected.describe():
            print(line)
    expected.check()
    return 0


def _eval(args: argparse.Namespace) -> int:
    from crossagent.pipeline.checkpoints import find_checkpoint
    from crossagent.recipe.checks import validate
    from crossagent.recipe.schema import load_recipe
    from crossagent.registry.plugin_set import load_plugins

    if args.episodes is not None and args.episodes < 1:
        raise CrossAgentError(f"--episodes: got {args.episodes}; expected at least 1")
    found = find_checkpoint(args.target, args.recipe)
    if found.recipe is None:
        raise CrossAgentError(
            f"{args.target}: is not inside a run, so it does not say its recipe. Fix: --recipe RECIPE"
        )
    plan = validate(load_recipe(found.recipe, args.overrides), load_plugins())
    spaces = [name for name in (args.spaces or "").split(",") if name]
    from crossagent.pipeline.evaluation import evaluate_checkpoint
    from crossagent.tracking.summary import cells_table, print_wide

    run = next((p for p in found.checkpoint.resolve().parents if (p / "state.json").is_file()), None)
    cells = evaluate_checkpoint(
        plan, found.checkpoint, args.suite or [], spaces, args.episodes, run=run, mode=args.mode
    )
    if args.json:
        _print_json({"checkpoint": str(found.checkpoint), "eval": cells})
    else:
        print_wide(_console(), cells_table(cells, str(found.checkpoint)))
    return 0


def _report(args: argparse.Namespace) -> int:
    from crossagent.tracking.report.data import collect
    from crossagent.tracking.report.page import REPORT, write_report

    if args.json and not args.output:
        _print_json({"runs": [collect(run) for run in args.runs]})
        return 0
    out = args.output or (args.runs[0] / REPORT if len(args.runs) == 1 else Path(REPORT))
    data = write_report(args.runs, out)
    if args.json:
        _print_json({"runs": data})
    else:
        print(f"wrote {out}")
    if args.open:
        _browse(out.resolve().as_uri())
    return 0


def _sync(args: argparse.Namespace) -> int:
    from crossagent.recipe.schema import RECIPE_FILE, load_recipe
    from crossagent.tracking.mlflow.outbox import FOLDER, redacted
    from crossagent.tracking.mlflow.sender import sync
    from crossagent.tracking.mlflow.tracker import tracking_uri

    targets = []
    for run in args.runs:
        if not (run / FOLDER / "spool.jsonl").is_file():
            raise CrossAgentError(f"{run}: nothing was logged for MLflow there; expected a run, e.g. runs/quickstart")
        composed = run / RECIPE_FILE
        chosen = args.uri or (load_recipe(composed).tracking.uri if composed.is_file() else None)
        uri = tracking_uri(chosen, run if composed.is_file() else None)
        if not uri:
            raise CrossAgentError(f"{run}: does not say where to. Fix: --uri URI, or set MLFLOW_TRACKING_URI")
        targets.append((run, uri))
    rows = []
    for run, uri in targets:
        sent, left = sync(run, uri)
        rows.append({"run": str(run), "uri": redacted(uri), "sent": sent, "left": left})
        if not args.json:
            print(f"{run}: {sent} records sent to {redacted(uri)}" + (f", {left} are left" if left else ""))
    if args.json:
        _print_json({"runs": rows})
    return FAILED_CHECK if any(row["left"] for row in rows) else 0


def _plugins(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from crossagent.registry.loading import LoadStep
    from crossagent.registry.plugin_set import load_plugins

    steps: list[LoadStep] = []
    listing = load_plugins(trace=steps).listing()
    if args.json:
        _print_json(listing | ({"trace": [asdict(step) for step in steps]} if args.trace else {}))
        return 0
    from rich.table import Table

    from crossagent.tracking.summary import print_wide

    console = _console()
    for kind, needs in (("spaces", "requires"), ("environments", "interfaces")):
        table = Table(title=kind, title_justify="left")
        for column in ("name", "version", "distribution", needs, "what it is"):
            table.add_column(column)
        for row in listing[kind]:
            distribution = f"{row['distribution']} {row['distribution_version']}".strip()
            table.add_row(row["name"], row["version"], distribution, ", ".join(row[needs]), row["doc"])
        print_wide(console, table)
    for kind in ("samplers", "commands"):
        for row in listing[kind]:
            shown = "crossagent " * (kind == "commands") + row["name"]
            hidden = (
                " (never reached: crossagent has one of this name)"
                if kind == "commands" and row["name"] in own_commands()
                else ""
            )
            text = f"{kind.removesuffix('s')}: {shown}, {row['distribution']} {row['distribution_version']}: {row['doc']}{hidden}"
            console.print(text, style="red" if hidden else None, markup=False, highlight=False, soft_wrap=True)
    for failure in listing["failures"]:
        text = f"failed: {failure['name']} ({failure['distribution']}): {failure['reason']}"
        console.print(text, style="red", markup=False, soft_wrap=True)
    for step in steps if args.trace else ():
        said = f"raised {step.error}" if step.error else step.result
        text = f"{step.milliseconds:8.1f} ms  {step.plugin}  {step.step}: {said}"
        console.print(text, style="red" if step.error else None, markup=False, highlight=False, soft_wrap=True)
    return 0


def _tasks(args: argparse.Namespace) -> int:
    from crossagent.recipe.checks import suite_tasks, tasks_of_split
    from crossagent.recipe.compose import apply_overrides
    from crossagent.recipe.schema import EnvironmentConfig
    from crossagent.registry.plugin_set import load_plugins

    given: dict[str, Any] = {"options": {}}
    if problems := apply_overrides(given, [f"options.{word}" for word in args.option], EnvironmentConfig):
        raise CrossAgentError("\n".join(problems).replace("command line: ", "--option: "))
    plugins = load_plugins()
    plugins.check_environment_options(args.environment, given["options"])
    tasks = suite_tasks(plugins, args.environment, given["options"])
    if args.split:
        tasks = tasks_of_split(tasks, args.split, args.environment, solvable_only=False)
    rows = [
        {"name": t.name, "category": t.category, "splits": list(t.splits), "solvable": t.solvable, "reason": t.reason}
        for t in tasks
    ]
    if args.json:
        _print_json({"tasks": rows})
        return 0
    from rich.table import Table

    from crossagent.tracking.summary import print_wide

    table = Table(title=f"{args.environment}: {len(rows)} tasks", title_justify="left")
    for column in ("name", "category", "splits", "solvable"):
        table.add_column(column)
    for row in rows:
        solvable = "yes" if row["solvable"] else f"no: {row['reason']}"
        table.add_row(str(row["name"]), str(row["category"]), ", ".join(row["splits"]), solvable)  # type: ignore[arg-type]
    print_wide(_console(), table)
    return 0


def _check(args: argparse.Namespace) -> int:
    from crossagent.registry.plugin_set import load_plugins
    from crossagent.testing import check_plugin

    def begins(environment: str) -> None:
        if not args.json and args.environment is None:
            print(f"checking on {environment} …", file=sys.stderr, flush=True)

    left_out: list[str] = []
    findings = check_plugin(load_plugins(), args.name, args.environment, left_out, begins)
    if args.json:
        rows = [{"rule": finding.rule, "message": finding.message} for finding in findings]
        _print_json({"name": args.name, "passed": not findings, "findings": rows, "left_out": left_out})
    else:
        for reason in left_out:
            print(f"not checked there: {reason}", file=sys.stderr)
        for finding in findings:
            print(f"✗ {finding}")
        print(f"{args.name}: " + (f"{len(findings)} findings" if findings else "passed"))
    return FAILED_CHECK if findings else 0


def _new(args: argparse.Namespace) -> int:
    from crossagent.registry.plugin_set import load_plugins
    from crossagent.scaffold import new_package

    directory = new_package(args.kind, args.name, args.directory, load_plugins())
    print(f"wrote {directory}; next:")
    for step in (f"cd {directory}", "pip install -e '.[test]'", f"crossagent check {args.name}", "pytest"):
        print(f"  {step}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from crossagent.pipeline.checkpoints import find_checkpoint
    from crossagent.policy.export import export_checkpoint

    found = find_checkpoint(args.checkpoint)
    export_checkpoint(found.checkpoint, args.directory, args.adapter)
    print(f"wrote {args.directory}: AutoModelForCausalLM.from_pretrained({str(args.directory)!r}) loads it")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from crossagent.doctor import describe, examine

    report = examine()
    if args.json:
        _print_json(report)
    else:
        print("\n".join(describe(report)))
    return 0


def _view(args: argparse.Namespace) -> int:
    if args.max is not None and args.max < 1:
        raise CrossAgentError(f"--max: got {args.max}; expected at least 1")
    from crossagent.tracking.viewer.page import write_page

    out = args.output or args.run / "viewer.html"
    shown, total = write_page(args.run, out, args.max)
    if args.json:
        _print_json({"file": str(out), "shown": shown, "total": total})
    else:
        print(f"wrote {out}: {shown} of {total} trajectories")
    if args.open:
        _browse(out.resolve().as_uri())
    return 0


def _render(args: argparse.Namespace) -> int:
    if not 0.02 <= args.seconds <= 60:
        raise CrossAgentError(f"--seconds: got {args.seconds}; expected 0.02 to 60")
    from crossagent.tracking.viewer.catalogue import Catalogue
    from crossagent.tracking.viewer.render import render

    catalogue = Catalogue(args.run)
    one = catalogue.find(args.trajectory)
    out = args.output or args.run / "episodes" / f"{one.name.replace('/', '-')}.gif"
    count = render(one, out, catalogue.weights, args.seconds)
    print(f"wrote {out}: {count} frames")
    return 0


def _replay(args: argparse.Namespace) -> int:
    if args.max is not None and args.max < 1:
        raise CrossAgentError(f"--max: got {args.max}; expected at least 1")
    from collections import Counter
    from dataclasses import asdict

    from crossagent.recipe.checks import suite_tasks, validate
    from crossagent.recipe.schema import RECIPE_FILE, load_recipe
    from crossagent.registry.plugin_set import load_plugins
    from crossagent.rollout.replay import replay, why_not
    from crossagent.tracking.progress import ProgressDisplay
    from crossagent.tracking.viewer.catalogue import Catalogue

    catalogue = Catalogue(args.run)
    recipe, plugins = load_recipe(args.run / RECIPE_FILE), load_plugins()
    plan = validate(recipe, plugins)
    tasks = {task.name: task for task in suite_tasks(plugins, recipe.environment.name, recipe.environment.options)}
    shown = [catalogue.find(args.trajectory)] if args.trajectory else catalogue.sample(args.max or sys.maxsize)[0]
    left_out = {one.name: reason for one in shown if (reason := why_not(one.trajectory, tasks))}
    chosen = [one for one in shown if one.name not in left_out]
    if args.trajectory and left_out:
        raise CrossAgentError(f"{args.trajectory} cannot be replayed: {left_out[args.trajectory]}")
    if not chosen:
        raise CrossAgentError(f"{args.run}: holds no trajectory that can be replayed yet")
    display = ProgressDisplay("quiet" if args.json else "auto")
    with plan.open_pool() as pool, display, display.task("replay", len(chosen)) as bar:
        found = replay([one.trajectory for one in chosen], tasks, pool, lambda done: bar.update(done))
    differing = {one.name: difference for one, difference in zip(chosen, found, strict=True) if difference}
    if args.json:
        _print_json(
            {
                "run": str(args.run),
                "replayed": len(chosen),
                "identical": len(chosen) - len(differing),
                "left_out": dict(Counter(left_out.values())),
                "differences": [
                    {"trajectory": name, **{k: _jsonable(v) for k, v in asdict(difference).items()}}
                    for name, difference in differing.items()
                ],
            }
        )
    else:
        for name, difference in list(differing.items())[:20]:
            print(f"{name}: {difference}")
        if len(differing) > 20:
            print(f"… and {len(differing) - 20} more; --json lists them")
        for reason, count in Counter(left_out.values()).items():
            print(f"left out {count}: {reason}")
        print(f"{args.run}: {len(chosen) - len(differing)} of {len(chosen)} trajectories are identical")
    return FAILED_CHECK if differing else 0


def _jsonable(value: Any) -> Any:
    return f"{len(value)} bytes" if isinstance(value, bytes) else value


def _watch(args: argparse.Namespace) -> int:
    from crossagent.tracking.viewer.watch import ADDRESS, PORT, serve

    if args.text:
        from crossagent.tracking.viewer.watch_text import follow

        try:
            follow(args.run, _console())
        except KeyboardInterrupt:
            print()
        return 0
    with serve(args.run, PORT if args.port is None else args.port) as server:
        address = f"http://{ADDRESS}:{server.server_address[1]}/"
        print(f"{args.run}: {address} (Ctrl-C ends it)", flush=True)
        if args.open:
            _browse(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


# -- output ---------------------------------------------------------------------------------------------------------
def _console() -> Console:
    from rich.console import Console

    return Console()


def _print_error(args: argparse.Namespace, message: str, before: str = "") -> None:
    if getattr(args, "mode", "auto") == "json":
        from crossagent.tracking.progress import ProgressDisplay

        ProgressDisplay("json").event("error", message=message)
    else:
        print(f"{before}crossagent: {message}", file=sys.stderr)


def _browse(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        print(f"crossagent: found no browser; open {address}", file=sys.stderr)


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))
