"""OpenHA's action spaces, with the texts that its released data sets and checkpoints use (arXiv 2509.13347, 2512.09706)."""

from crossagent.plugin import ActionSpaceSpec, CommandSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"


@hookimpl
def crossagent_action_spaces() -> list[ActionSpaceSpec]:
    """Declare the five spaces. Of those that begin alike (``motion`` and ``motion_coa``), a run has one."""
    control, both = ("control",), ("control", "pointer")
    return [
        ActionSpaceSpec(
            name="text_action",
            version="1",
            requires=control,
            header="Action:",
            factory="crossagent_openha.text_action:TextActionSpace",
            doc="OpenHA's raw actions: mouse, keys and buttons of a tick.",
            instead_of=("control",),
        ),
        ActionSpaceSpec(
            name="motion",
            version="1",
            requires=control,
            header="Motion:",
            factory="crossagent_openha.motion:MotionSpace",
            doc="OpenHA's motions: words such as move forward, turn left, attack / mine.",
        ),
        ActionSpaceSpec(
            name="grounding",
            version="1",
            requires=both,
            header="Grounding:",
            factory="crossagent_openha.grounding:GroundingSpace",
            doc="OpenHA's grounded actions: Mine, Kill, Approach … at a point of the screen.",
        ),
        ActionSpaceSpec(
            name="motion_coa",
            version="1",
            requires=control,
            header="Motion:",
            factory="crossagent_openha.coa:MotionCoaSpace",
            doc="OpenHA's chain of action: a motion, then the raw action that does it.",
            instead_of=("motion",),
        ),
        ActionSpaceSpec(
            name="grounding_coa",
            version="1",
            requires=both,
            header="Grounding:",
            factory="crossagent_openha.coa:GroundingCoaSpace",
            doc="OpenHA's chain of action: a grounded action, then the raw action that does it.",
            instead_of=("grounding",),
        ),
    ]


@hookimpl
def crossagent_commands() -> list[CommandSpec]:
    """Declare ``crossagent openha``."""
    doc = "import and export: OpenHA's parquet data sets to demonstrations and back."
    return [CommandSpec("openha", "1", "crossagent_openha.command:command", doc)]
