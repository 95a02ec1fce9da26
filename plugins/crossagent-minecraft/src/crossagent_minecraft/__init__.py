"""Minecraft Java 1.16.5 by protocol, through a bridge in Node (mineflayer; flying-squid as its own server)."""

from crossagent.plugin import CommandSpec, EnvironmentSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"


@hookimpl
def crossagent_environments() -> list[EnvironmentSpec]:
    """Declare the environment ``minecraft``."""
    return [
        EnvironmentSpec(
            name="minecraft",
            version="1",
            interfaces=("control", "pointer", "skills"),
            factory="crossagent_minecraft.env:Minecraft",
            suite="crossagent_minecraft.suite:suite",
            experts={
                "control": "crossagent_craftworld.experts.control:ControlExpert",
                "pointer": "crossagent_craftworld.experts.pointer:PointerExpert",
                "skills": "crossagent_craftworld.experts.skills:SkillsExpert",
            },
            doc="Minecraft Java 1.16.5 by protocol: its own server in lock-step, or any offline-mode server in real time.",
        )
    ]


@hookimpl
def crossagent_commands() -> list[CommandSpec]:
    """Declare ``crossagent minecraft install``."""
    return [
        CommandSpec(
            name="minecraft",
            version="1",
            function="crossagent_minecraft.install:command",
            doc="install: fetch the Node packages of the Minecraft bridge.",
        )
    ]
