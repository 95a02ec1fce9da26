"""For mkdocstrings: docstrings are written for the terminal, with ``:class:`Name``` where a name is meant."""

import re

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|data):`~?([\w.]+)`")


class Roles(griffe.Extension):
    """Shows such a role as the name, in code."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)
