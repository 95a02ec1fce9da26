"""MineStudio: Minecraft 1.16.5 itself, in a virtual environment of its own."""

from crossagent.plugin import CommandSpec, EnvironmentSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"


@hookimpl
def crossagent_environments() -> list[EnvironmentSpec]:
    """Declare the environment ``minestudio``."""
    return [
        EnvironmentSpec(
            name="minestudio",
            version="1",
            interfaces=("control", "pointer"),
            factory="crossagent_minestudio.env:MineStudio",
            suite="crossagent_minestudio.suite:suite",
            doc="MineStudio's simulator, Minecraft 1.16.5 itself, with CraftWorld's tasks.",
        )
    ]


@hookimpl
def crossagent_commands() -> list[CommandSpec]:
    """Declare ``crossagent minestudio install``."""
    return [
        CommandSpec(
            name="minestudio",
            version="1",
            function="crossagent_minestudio.command:command",
            doc="install: MineStudio's simulator in an environment of its own, and its engine.",
        )
    ]
