"""MineRL: the real game in a virtual environment of its own, and VPT and BASALT recordings as demonstrations."""

from crossagent.plugin import CommandSpec, EnvironmentSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"


@hookimpl
def crossagent_environments() -> list[EnvironmentSpec]:
    """Declare the environment ``minerl``."""
    return [
        EnvironmentSpec(
            name="minerl",
            version="1",
            interfaces=("control", "skills"),
            factory="crossagent_minerl.env:MineRL",
            suite="crossagent_minerl.suite:suite",
            doc="MineRL 0.4.4's missions in the real game, by keys and by its macro actions.",
        )
    ]


@hookimpl
def crossagent_commands() -> list[CommandSpec]:
    """Declare ``crossagent minerl …``."""
    return [
        CommandSpec(
            name="minerl",
            version="1",
            function="crossagent_minerl.command:command",
            doc="install: MineRL in an environment of its own; import: VPT and BASALT recordings as demonstrations.",
        )
    ]
