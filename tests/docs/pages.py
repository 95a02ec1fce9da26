"""Fenced blocks of our Markdown pages, and a workplace to run them in.

A block is run as its language says, or carries a mark on the line above it:

    <!-- not run: the reason why not -->
    <!-- slow: the reason why only `make test-all` runs it -->

========  =============================================================================================================
console   every line that starts with ``$ `` is run by bash (``\\`` continues it) and must succeed; the lines below it must
          occur in its output, in this order, where ``…`` stands for anything. ``cd`` holds for the rest of the page
python    executed, ``>>>`` as a doctest; the blocks of a page share their names. With ``title="file"``: written there
yaml      an overlay of the quickstart that must compose; with ``title="file"``: a whole recipe, written there
toml      parsed; with ``title="file"``: written there
text      something to look at, such as a diagram; never a command
========  =============================================================================================================
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossagent.recipe.schema import load_recipe

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(ROOT.glob("examples/**/*.md")),
    *sorted(ROOT.glob("benchmarks/*.md")),
]
LANGUAGES = ("console", "python", "yaml", "toml", "text")
FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*(\w*)(.*)$")
MARK = re.compile(r"^ *<!-- (not run|slow): (\S.*\S) -->$")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    title: str
    body: str
    mark: str
    """``not run``, ``slow`` or nothing."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    lines = (page.read_text(encoding="utf-8") if text is None else text).splitlines()
    found: list[Block] = []
    number = 0
    while number < len(lines):
        opened = FENCE.match(lines[number])
        if opened is None:
            number += 1
            continue
        indent, fence, language, rest = opened.groups()
        end = next((n for n in range(number + 1, len(lines)) if lines[n].strip() == fence), None)
        assert end is not None, f"{page}:{number + 1}: a block is not closed"
        body = "".join(line.removeprefix(indent) + "\n" for line in lines[number + 1 : end])
        title = re.search(r'title="([^"]+)"', rest)
        above = next((line for line in reversed(lines[:number]) if line.strip()), "")
        mark = MARK.match(above)
        found.append(Block(page, number + 1, language, title[1] if title else "", body, mark[1] if mark else ""))
        number = end + 1
    return found


def commands(body: str) -> list[tuple[str, list[str]]]:
    """Return (command, lines of output shown) for each command of a console block."""
    found: list[tuple[str, list[str]]] = []
    lines = iter(body.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line.removeprefix("$ ")
            while command.endswith("\\"):
                command = command[:-1] + next(lines).strip()
            found.append((command, []))
        elif line.strip():
            assert found, f"a console block starts with output: {line!r}"
            found[-1][1].append(line)
    return found


def missing_output(shown: Sequence[str], output: str) -> str | None:
    """Return the first line that is shown and does not occur, in this order, in the output; None when all do."""
    rest: Iterator[str] = iter(output.splitlines())
    for line in shown:
        wanted = re.compile(r"\s*" + r".*".join(map(re.escape, line.strip().split("…"))) + r"\s*")
        if line.strip() != "…" and not any(wanted.fullmatch(actual) for actual in rest):
            return line
    return None


class Workplace:
    """An empty directory with the recipes of this repository, in which the blocks of one page are run."""

    def __init__(self, directory: Path, interpreter: Path | None = None) -> None:
        """Prepare it; ``interpreter``: of the environment that ``python``, ``pip`` and ``crossagent`` are to belong to."""
        self.directory, self.here = directory, directory
        self.names = types.ModuleType("page")
        self.interpreter = interpreter or Path(sys.executable)
        programs = directory / ".venv" / "bin"
        programs.mkdir(parents=True)
        shims = {
            "python": '"$@"',
            "lightning": '-m crossagent_lightning_cli "$@"',
            "pytest": '-m pytest -p no:cacheprovider "$@"',
            "torchrun": '-m torch.distributed.run "$@"',
            "fabric": "-c 'from lightning.fabric.cli import _main; _main()' \"$@\"",
            "hatchling": '-m hatchling "$@"',
        }
        for name, words in shims.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{self.interpreter}" {words}\n')
        (programs / "pip").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip --python "{self.interpreter}" "$@"\n')
        (programs / "crossagent").write_text(  # in Python, as pip writes it: `fabric run` takes no other program
            f"#!{self.interpreter}\nimport sys\nfrom crossagent.cli import main\nsys.exit(main())\n"
        )
        for program in programs.iterdir():
            program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, SOURCES)),
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def run(self, block: Block) -> None:
        """Run one block; an assertion says what went wrong."""
        if block.language == "console":
            for command, shown in commands(block.body):
                self._command(block, command, shown)
        elif block.title:
            self._write(block)
        elif block.language == "python":
            self._python(block)
        elif block.language == "yaml":
            (self.directory / "block.yaml").write_text(block.body, encoding="utf-8")
            load_recipe(ROOT / "recipes" / "quickstart.yaml", [str(self.directory / "block.yaml")])
        elif block.language == "toml":
            tomllib.loads(block.body)

    def _command(self, block: Block, command: str, shown: Sequence[str]) -> None:
        script = f'{command}\ncode=$?\npwd > "$WORKPLACE/.here"\nexit $code\n'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.here,
            env={**self.environment, "WORKPLACE": str(self.directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, f"{block}: `{command}` exits with {done.returncode}:\n{done.stdout[-6000:]}"
        missing = missing_output(shown, done.stdout)
        assert missing is None, f"{block}: the output of `{command}` has no line {missing!r}:\n{done.stdout[-6000:]}"
        self.here = Path((self.directory / ".here").read_text().strip())

    def _write(self, block: Block) -> None:
        file = self.here / block.title
        assert file.resolve().is_relative_to(self.directory.resolve()), f"{block}: {block.title} lies outside"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.body, encoding="utf-8")
        if block.language == "python":
            compile(block.body, str(block), "exec")
        elif block.language == "toml":
            tomllib.loads(block.body)
        elif block.language == "yaml":
            load_recipe(file)

    def _python(self, block: Block) -> None:
        sys.modules[self.names.__name__] = self.names
        before, path = os.getcwd(), list(sys.path)
        os.chdir(self.here)
        sys.path.insert(0, str(self.here))  # a page may import the files it writes
        try:
            if ">>>" in block.body:
                test = doctest.DocTestParser().get_doctest(
                    block.body, self.names.__dict__, str(block), str(block.page), block.line
                )
                said = io.StringIO()
                runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
                with contextlib.redirect_stdout(io.StringIO()):
                    runner.run(test, out=said.write, clear_globs=False)
                self.names.__dict__.update(test.globs)
                assert runner.failures == 0, said.getvalue()
            else:
                exec(compile(block.body, str(block), "exec"), self.names.__dict__)
        finally:
            os.chdir(before)
            sys.path[:] = path
            for name in [
                n for n, m in sys.modules.items() if (getattr(m, "__file__", "") or "").startswith(str(self.directory))
            ]:
                del sys.modules[name]
            sys.modules.pop(self.names.__name__, None)


def workplace_with_recipes(directory: Path) -> Workplace:
    """Return a workplace as a clone of this repository has it."""
    shutil.copytree(ROOT / "recipes", directory / "recipes")
    return Workplace(directory)
