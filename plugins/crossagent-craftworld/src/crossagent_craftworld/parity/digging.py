"""Digging: ticks and harvest of every block with every tool."""

from __future__ import annotations

from crossagent_craftworld.parity.tally import Document, Tally
from crossagent_minecraft_data.blocks import BLOCKS, SWORD_INSTANT, dig_ticks, harvests

_SLOWED = {"in water": (True, True), "not on ground": (False, False), "both": (True, False)}


def digging(document: Document) -> Tally:
    """Ticks (0 at once, −1 never), harvest and, with an iron pickaxe, the slowing by water and air, exact.

    One case is one (block, tool). Where the two references differ, the row's ``use`` says which holds.
    """
    tally = Tally("blocks (digging)")
    tools = [None if tool == "hand" else tool for tool in document["header"]["tools"]]
    for name, row in document["blocks"].items():
        newer = row.get("use") == "1.17.1"
        if name not in BLOCKS:
            tally.case(name, False, "no such block here")
            continue
        if BLOCKS[name].hardness < 0 and not any(row["t"]):
            tally.leave_out(
                "what cannot be dug has hardness 0 in minecraft-data, so that the reference breaks it at once"
            )
            continue
        ticks, drops = row["t_1171" if newer else "t"], row["h_1171" if newer else "h"]
        for tool, want, harvest in zip(tools, ticks, drops, strict=True):
            if name in SWORD_INSTANT and tool is not None and tool.endswith("_sword"):
                tally.leave_out(f"{name}: any sword breaks it at once in vanilla, which neither reference knows")
                continue
            got = (dig_ticks(name, tool), harvests(name, tool))
            tally.error = max(tally.error, abs(got[0] - want))
            tally.check(f"{name} with {tool or 'the hand'}", got, (want, harvest == "1"))
        if newer:
            tally.leave_out("digging in water and air of blocks that follow 1.17.1: the file has it for 1.16 alone", 3)
            continue
        for want, (where, (wet, ground)) in zip(row["wet_air_both"], _SLOWED.items(), strict=True):
            got_ticks = dig_ticks(name, "iron_pickaxe", in_water=wet, on_ground=ground)
            tally.error = max(tally.error, abs(got_ticks - want))
            tally.check(f"{name} {where}", got_ticks, want)
    return tally
