"""Action space of typed skill calls: ``Api: mine(oak_log)``."""

from crossagent.plugin import ActionSpaceSpec, hookimpl

CROSSAGENT_CONTRACT = "1.2"


@hookimpl
def crossagent_action_spaces() -> list[ActionSpaceSpec]:
    """Declare the space ``api``."""
    return [
        ActionSpaceSpec(
            name="api",
            version="1",
            requires=("skills",),
            header="Api:",
            factory="crossagent_api.space:ApiSpace",
            doc="Call one of the world's skills by name.",
        )
    ]
