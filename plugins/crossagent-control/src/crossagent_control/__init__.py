"""Action space of held keys, mouse buttons and mouse movement: ``Action: move(19, -4) and press(w) and click(left)``."""

from crossagent.plugin import ActionSpaceSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"


@hookimpl
def crossagent_action_spaces() -> list[ActionSpaceSpec]:
    """Declare the space ``control``."""
    return [
        ActionSpaceSpec(
            name="control",
            version="1",
            requires=("control",),
            header="Action:",
            factory="crossagent_control.space:ControlSpace",
            doc="Hold keys and buttons and move the mouse, for a few ticks.",
        )
    ]
