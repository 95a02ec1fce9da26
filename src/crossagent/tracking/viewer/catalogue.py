"""The trajectories that a run has left, by name. Reads the run's files alone: it may be unfinished, or still running.

A trajectory's name is ``STAGE/WHICH/GROUP.MEMBER``; WHICH is the step it was trained on, or the suite and agent of an
evaluation: ``mtrl/12/3.1``, ``sft/id-mixed/7.0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from crossagent.errors import CrossAgentError, DataError, did_you_mean, lookup
from crossagent.rollout.credit import TurnCredit, credit_file, load_credits
from crossagent.rollout.store import load_groups, load_trajectories
from crossagent.types import Trajectory

RECIPE_FILE = "recipe.yaml"
UNTRAINED = "untrained"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of trajectories."""

    path: Path
    stage: str
    which: str
    """The step, or suite and agent of an evaluation."""
    step: int | None
    """None: an evaluation."""

    @property
    def name(self) -> str:
        """``STAGE/WHICH``."""
        return f"{self.stage}/{self.which}"


@dataclass(frozen=True, slots=True)
class Shown:
    """One trajectory with where it is from."""

    source: Source
    trajectory: Trajectory
    credit: tuple[TurnCredit, ...] = ()
    """Per turn what training made of it; empty where nothing trained on it."""

    @property
    def group_name(self) -> str:
        """``STAGE/WHICH/GROUP``."""
        return f"{self.source.name}/{self.trajectory.group}"

    @property
    def name(self) -> str:
        """``STAGE/WHICH/GROUP.MEMBER``."""
        return f"{self.group_name}.{self.trajectory.member}"


class Catalogue:
    """The trajectories of one run directory, as they are now."""

    def __init__(self, run: Path) -> None:
        """Look at a run.

        Raises:
            DataError: The directory is no run.
        """
        self.run = run
        if not (run / RECIPE_FILE).is_file():
            known = sorted(p.parent.name for p in run.parent.glob(f"*/{RECIPE_FILE}")) if run.parent.is_dir() else []
            hint = did_you_mean(run.name, known) if known else "Train one: crossagent run recipes/quickstart.yaml"
            raise DataError(f"{run}: not a run of crossagent (no {RECIPE_FILE} there). {hint}")

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The composed recipe, as plain data."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        path = self.run / RECIPE_FILE
        try:
            content = OmegaConf.to_container(OmegaConf.load(path))
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise DataError(f"{path}: unreadable ({error}); expected the recipe that crossagent wrote") from error
        return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}

    @property
    def title(self) -> str:
        """The run's name."""
        return str(self.recipe.get("run_name") or self.run.resolve().name)

    @property
    def stages(self) -> tuple[str, ...]:
        """Every stage of the recipe, in order, the untrained policy first."""
        return (UNTRAINED, *(str(stage) for stage in self.recipe.get("stages") or ()))

    @property
    def weights(self) -> dict[str, float]:
        """λ per space."""
        spaces = self.recipe.get("spaces") or {}
        return {str(name): float((space or {}).get("weight") or 0.0) for name, space in spaces.items()}

    def sources(self) -> list[Source]:
        """Return the files there are now: stages in order, in each the training steps, then the evaluations."""
        order = {stage: number for number, stage in enumerate(self.stages)}
        found = []
        for path in self.run.glob("*/trajectories/*.parquet"):
            stage = path.parent.parent.name
            if step := re.fullmatch(r"step-(\d+)", path.stem):
                found.append(Source(path, stage, str(int(step[1])), int(step[1])))
            elif path.stem.startswith("evaluation-"):
                found.append(Source(path, stage, path.stem.removeprefix("evaluation-"), None))
        return sorted(found, key=lambda s: (order.get(s.stage, len(order)), s.stage, s.step is None, s.step, s.which))

    def newest(self, files: int) -> list[Source]:
        """Return the files that were written last, the newest first."""
        return sorted(self.sources(), key=_written, reverse=True)[:files]

    def load(self, source: Source, groups: Sequence[int] | None = None) -> list[Shown]:
        """Return the trajectories of one file, or of some of its groups, in its order."""
        trajectories = load_trajectories(source.path, groups)
        credits: dict[tuple[int, int], tuple[TurnCredit, ...]] = {}
        if source.step is not None:
            beside = credit_file(source.path.parent, source.step)
            if beside.is_file():
                credits = load_credits(beside, groups)
        return [Shown(source, t, _fitting(t, credits.get((t.group, t.member), ()))) for t in trajectories]

    def sample(self, most: int, sources: Sequence[Source] | None = None) -> tuple[list[Shown], int]:
        """Return whole groups, spread evenly over the files, of about ``most`` trajectories and never more, and the number
        that there are. A group larger than ``most`` is not cut.
        """
        sizes: dict[tuple[int, int], int] = {}
        sources = self.sources() if sources is None else sources
        for number, source in enumerate(sources):
            for group in load_groups(source.path):
                sizes[number, group] = sizes.get((number, group), 0) + 1
        total = sum(sizes.values())
        wanted: dict[int, list[int]] = {}
        for number, group in _spread(sizes, most):
            wanted.setdefault(number, []).append(group)
        shown = [one for number, groups in sorted(wanted.items()) for one in self.load(sources[number], groups)]
        return shown, total

    def holding(self, image_bytes: int) -> int:
        """Return how many of the trajectories hold about so many bytes of images; where there are none, all."""
        sources = self.sources()
        total, images = sum(len(load_groups(s.path)) for s in sources), sum(_image_bytes(s.path) for s in sources)
        return total if images <= image_bytes else max(1, total * image_bytes // images)

    def find(self, name: str) -> Shown:
        """Return one trajectory by its name.

        Raises:
            CrossAgentError: There is none of this name; says which there are.
        """
        sources = {source.name: source for source in self.sources()}
        if not sources:
            raise CrossAgentError(f"{self.run}: holds no trajectories yet")
        prefix, _, own = name.rpartition("/")
        if prefix not in sources:
            raise CrossAgentError(
                f"unknown trajectory {name!r}: nothing in {self.run} is called {prefix!r}; names look like "
                f"{next(iter(sources))}/0.0. {did_you_mean(prefix, sources)}"
            )
        shown = {one.name.rpartition("/")[2]: one for one in self.load(sources[prefix])}
        return lookup(own, shown, f"trajectory {name!r}: {prefix} has no")


def _spread(sizes: dict[tuple[int, int], int], most: int) -> Iterator[tuple[int, int]]:
    """Yield the groups to show, evenly spaced, in order."""
    keys = list(sizes)
    total = sum(sizes.values())
    if total <= most:
        yield from keys
        return
    count = max(1, most * len(keys) // total)
    left = most
    for k in range(count):
        key = keys[k * len(keys) // count]
        if sizes[key] <= left or left == most:
            left -= sizes[key]
            yield key


def _image_bytes(path: Path) -> int:
    """Return the bytes that the images of a file of trajectories take, in it or in the file beside it; reads neither."""
    beside = path.with_suffix(".images.zip")
    meta = pq.read_metadata(path)
    columns = (meta.row_group(g).column(c) for g in range(meta.num_row_groups) for c in range(meta.num_columns))
    within: int = sum(c.total_compressed_size for c in columns if c.path_in_schema.endswith(".element.image"))
    return within + (beside.stat().st_size if beside.is_file() else 0)


def _fitting(trajectory: Trajectory, credit: tuple[TurnCredit, ...]) -> tuple[TurnCredit, ...]:
    """Return the credit if it is of this trajectory: a run killed between the two files has an older one beside it."""
    same = len(credit) == len(trajectory.turns) and all(
        not c.loss_mask or len(c.loss_mask) == len(t.response_ids)
        for c, t in zip(credit, trajectory.turns, strict=True)
    )
    return credit if same else ()


def _written(source: Source) -> tuple[int, str]:
    try:
        return source.path.stat().st_mtime_ns, source.name
    except FileNotFoundError:  # replaced just now
        return 0, source.name
