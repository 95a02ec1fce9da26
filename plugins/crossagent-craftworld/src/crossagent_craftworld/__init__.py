"""Embedded 3-D block world on Minecraft 1.16.5 data."""

from crossagent.plugin import CommandSpec, EnvironmentSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"

try:
    import gymnasium
except ImportError:  # an optional extra
    pass
else:
    if "CraftWorld-v0" not in gymnasium.registry:
        gymnasium.register("CraftWorld-v0", "crossagent_craftworld.gym:CraftWorldEnv")


@hookimpl
def crossagent_environments() -> list[EnvironmentSpec]:
    """Declare the environment ``craftworld``."""
    return [
        EnvironmentSpec(
            name="craftworld",
            version="1",
            interfaces=("control", "pointer", "skills"),
            factory="crossagent_craftworld.env:CraftWorld",
            suite="crossagent_craftworld.suite:suite",
            experts={
                "control": "crossagent_craftworld.experts.control:ControlExpert",
                "pointer": "crossagent_craftworld.experts.pointer:PointerExpert",
                "skills": "crossagent_craftworld.experts.skills:SkillsExpert",
            },
            doc="3-D block world with Minecraft 1.16.5's numbers; text and pixels; mining, crafting, fighting.",
        )
    ]


@hookimpl
def crossagent_commands() -> list[CommandSpec]:
    """Declare the command ``play``."""
    return [
        CommandSpec(
            "play", "1", "crossagent_craftworld.play:main", "Play a task of CraftWorld yourself, in the browser."
        )
    ]
