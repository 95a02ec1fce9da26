"""Action space of a mouse pointer on a screen: ``Gui: click(result)``."""

from crossagent.plugin import ActionSpaceSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"


@hookimpl
def crossagent_action_spaces() -> list[ActionSpaceSpec]:
    """Declare the space ``gui``."""
    return [
        ActionSpaceSpec(
            name="gui",
            version="1",
            requires=("pointer",),
            header="Gui:",
            factory="crossagent_gui.space:GuiSpace",
            doc="Click things on the screen, by name or by pixel.",
        )
    ]
