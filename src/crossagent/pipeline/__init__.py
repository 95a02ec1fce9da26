"""A run of a recipe: its stages, evaluation and directory."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossagent.pipeline.recipe_run import run, run_recipe

__all__ = ["run", "run_recipe"]


def __getattr__(name: str) -> Any:
    """Import the conductor, and with it torch and Lightning, only where it is used."""
    if name in __all__:
        from crossagent.pipeline import recipe_run

        return getattr(recipe_run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
