"""CraftWorld's mechanics against golden values of other implementations: ``python -m crossagent_craftworld.parity DIR``.

A golden file is a JSON object with a ``header`` and sections; a section is known by its name and by what its rows
hold, never by the file's name (see :mod:`sections`).
"""
