"""MiniWoB++ in real Chromium: element calls are skills, coordinates the pointer, mouse and keys control."""

from crossagent.plugin import EnvironmentSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"


@hookimpl
def crossagent_environments() -> list[EnvironmentSpec]:
    """Declare the environment ``miniwob``."""
    return [
        EnvironmentSpec(
            name="miniwob",
            version="1",
            interfaces=("control", "pointer", "skills"),
            factory="crossagent_miniwob.env:MiniWob",
            suite="crossagent_miniwob.suite:suite",
            experts={
                "control": "crossagent_miniwob.experts.levels:ControlExpert",
                "pointer": "crossagent_miniwob.experts.levels:PointerExpert",
                "skills": "crossagent_miniwob.experts.levels:SkillsExpert",
            },
            doc="MiniWoB++: small web tasks in headless Chromium, a virtual clock, and a text or pixels to look at.",
        )
    ]
