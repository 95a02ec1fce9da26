"""A recipe: its schema, composition and checks."""

from crossagent.recipe.schema import load_recipe, validate

__all__ = ["load_recipe", "validate"]
