"""The directory of a run: what is in it, what is finished, and whose it is.

``state.json`` is the one truth about progress, replaced atomically after each step. A step that it does not list is done
again; every file a step writes has a name of its own and replaces its predecessor, so a killed run and an unbroken one
end with the same files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from crossagent.errors import CrossAgentError, RecipeError
from crossagent.recipe.compose import differing_keys, merge, to_yaml
from crossagent.recipe.schema import RECIPE_FILE, Recipe, SpaceConfig
from crossagent.tracking.files import read_json, write_json, write_text

STATE_VERSION = 1


class RunDirectory:
    """Paths and progress of one run. Make it with :meth:`open`; of several processes, rank 0 does, the others :meth:`follow`."""

    def __init__(self, path: Path, state: dict[str, Any], writes: bool = True) -> None:
        self.path = path
        self._state = state
        self._writes = writes

    @classmethod
    def open(cls, recipe: Recipe) -> RunDirectory:
        """Return the run's directory, made or continued.

        Raises:
            RecipeError: Another recipe has run under this name.
        """
        path = recipe.run_directory
        state_file = path / "state.json"
        if state_file.is_file():
            state = read_json(state_file)
            if state.get("version") != STATE_VERSION:
                raise RecipeError(
                    f"{state_file}: got version {state.get('version')!r}; expected {STATE_VERSION}. "
                    f"Fix: remove {path}, or use run_name=ANOTHER"
                )
            if changes := _changes(state["recipe"], recipe):
                shown = "\n  ".join(changes[:20])
                more = f"\n  … and {len(changes) - 20} more" if len(changes) > 20 else ""
                raise RecipeError(
                    f"{path} holds a run of another recipe; these keys differ (there → now):\n  {shown}{more}\n"
                    f"Fix: give this run a name of its own (run_name={recipe.run_name}-2), or remove {path}"
                )
            return cls(path, state)
        if path.exists() and any(path.iterdir()):
            raise RecipeError(
                f"{path} exists and is not a run of crossagent. Fix: run_name=ANOTHER, or move it out of the way"
            )
        state = {
            "version": STATE_VERSION,
            "recipe_sha256": recipe.sha256,
            "recipe": recipe.identity(),
            "steps": {},
        }
        write_text(path / RECIPE_FILE, to_yaml(recipe))
        write_json(state_file, state)
        return cls(path, state)

    @classmethod
    def follow(cls, recipe: Recipe, steps: Mapping[str, Any]) -> RunDirectory:
        """Return the directory as a process sees it that writes nothing there.

        Args:
            recipe: The same as rank 0's.
            steps: Its :attr:`steps` at the start; what is finished from then on, all processes finish together.
        """
        return cls(recipe.run_directory, {"steps": dict(steps)}, writes=False)

    # -- progress ------------------------------------------------------------------------------------------------
    @property
    def steps(self) -> Mapping[str, Any]:
        """What has finished, with what each left."""
        steps: Mapping[str, Any] = self._state["steps"]
        return steps

    @property
    def complete(self) -> bool:
        """Whether every step has finished."""
        return self.done("summary")

    def done(self, step: str) -> bool:
        """Return whether a step has finished."""
        return step in self._state["steps"]

    @property
    def begun(self) -> bool:
        """Whether any step has finished; if not, a failure removes the directory again."""
        return bool(self._state["steps"])

    def result(self, step: str) -> dict[str, Any]:
        """Return what a finished step left."""
        result: dict[str, Any] = self._state["steps"][step]
        return result

    def finish(self, step: str, result: Mapping[str, Any]) -> None:
        """Note that a step has finished, with what later steps and the summary need of it."""
        self._state["steps"][step] = dict(result)
        if self._writes:
            write_json(self.path / "state.json", self._state)

    def discard_unstarted(self) -> None:
        """Remove the directory again when no step has finished: a run that could not begin leaves nothing behind."""
        if not self.begun:
            shutil.rmtree(self.path, ignore_errors=True)
            with suppress(OSError):  # other runs live there
                self.path.parent.rmdir()

    # -- paths ---------------------------------------------------------------------------------------------------
    @property
    def demonstrations(self) -> Path:
        """Parquet file of the demonstrations."""
        return self.path / "demonstrations.parquet"

    @property
    def summary(self) -> Path:
        """``summary.json``."""
        return self.path / "summary.json"

    def stage(self, name: str) -> Path:
        """Directory of a stage."""
        return self.path / name

    def checkpoint(self, stage: str) -> Path:
        """The policy at the end of a stage."""
        return self.path / stage / "checkpoint"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory: a second process on the same run is refused, not interleaved."""
        import fcntl

        with open(self.path / ".lock", "a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise CrossAgentError(
                    f"{self.path}: another process ({file.read().strip() or 'unknown'}) is running this recipe; "
                    "wait for it, or use run_name=ANOTHER"
                ) from None
            file.truncate(0)
            file.write(f"pid {os.getpid()}")
            file.flush()
            yield


def _changes(stored: dict[str, Any], recipe: Recipe) -> list[str]:
    """Return the keys in which a recipe differs from that of a run.

    A key that the version which began the run did not know had its default's meaning there (docs/decisions/0001).
    """
    now = recipe.identity()
    if not differing_keys(stored, now):
        return []
    spaces = {name: SpaceConfig() for name in stored["spaces"]}
    return differing_keys(merge(Recipe(spaces=spaces).identity(), stored), now)
