"""A recipe: its schema, composition and checks."""

from crossagent.recipe.checks import validate
from crossagent.recipe.schema import load_recipe

__all__ = ["load_recipe", "validate"]
