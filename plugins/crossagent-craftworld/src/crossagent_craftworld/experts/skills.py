"""The expert of skills: one call after the other."""

from __future__ import annotations

from crossagent.plugin import Call, Environment, ExpertStuck
from crossagent_craftworld.experts.goal import CRAFT, MINE, Goal, stuck_when_lost


class SkillsExpert:
    """Skills are efficient where there is one; the basic library arranges no 3×3 grid."""

    interface = "skills"

    @stuck_when_lost
    def propose(self, env: Environment) -> list[Call]:
        """Return one skill call."""
        goal = Goal(env)
        if goal.event == CRAFT:
            if goal.by_hand or goal.env.interface("skills").full:
                return _call("craft", goal.name)
            if goal.window == "crafting_table":
                raise ExpertStuck("no skill arranges a 3×3 grid")
            return _call("open", "crafting_table")
        if goal.window is not None:
            return _call("close")
        if goal.lacks_tool and goal.tool is not None:
            return _call("equip", goal.tool)
        goal.find()
        return _call("mine" if goal.event == MINE else "attack", goal.name)


def _call(name: str, *args: str) -> list[Call]:
    return [Call("skills", "call", (name, *args))]
