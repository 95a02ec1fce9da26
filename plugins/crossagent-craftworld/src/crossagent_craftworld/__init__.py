"""Embedded 3-D block world on Minecraft 1.16.5 data."""

from crossagent.plugin import EnvironmentSpec, hookimpl

CROSSAGENT_CONTRACT = "1.0"


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
            doc="3-D block world with Minecraft 1.16.5's numbers; text observation; mining, crafting, fighting.",
        ),
        EnvironmentSpec(
            name="craftworld-long",
            version="1",
            interfaces=("control", "pointer", "skills"),
            factory="crossagent_craftworld.long:CraftWorldLong",
            suite="crossagent_craftworld.long:suite",
            experts={
                "control": "crossagent_craftworld.experts.control:ControlExpert",
                "pointer": "crossagent_craftworld.experts.pointer:PointerExpert",
                "skills": "crossagent_craftworld.experts.skills:SkillsExpert",
            },
            doc="CraftWorld's long tasks, from nothing to an iron pickaxe, in landscapes with biomes.",
        ),
    ]
