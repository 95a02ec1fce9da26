"""Motion and aim: bodies against traces tick by tick, rays against the first block they hit."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from crossagent_craftworld import palette, physics
from crossagent_craftworld.grid import FACES, Grid
from crossagent_craftworld.parity.tally import Document, Tally
from crossagent_craftworld.world import EYE, REACH

TOLERANCE = 1e-6
MOST_CELLS = 1 << 26
_NORMALS = dict(zip(("west", "east", "bottom", "top", "north", "south"), FACES, strict=True))
_FLAGS = ("onGround", "collidedHorizontally", "collidedVertically")


def build(fills: Sequence[Sequence[Any]], points: Sequence[Sequence[float]] = ()) -> Grid:
    """Return a grid of ``[x0, y0, z0, x1, y1, z1, state]`` fills, with room around all of ``points`` and air elsewhere."""
    low = [math.floor(min([*(f[a] for f in fills), *(p[a] for p in points)])) - 4 for a in range(3)]
    high = [math.ceil(max([*(f[a + 3] for f in fills), *(p[a] for p in points)])) + 5 for a in range(3)]
    size = (high[0] - low[0], high[1] - low[1], high[2] - low[2])
    cells = size[0] * size[1] * size[2]
    if cells > MOST_CELLS:
        raise ValueError(f"a world of {cells} cells; at most {MOST_CELLS}")
    grid = Grid(array("H", bytes(2 * cells)), size, (low[0], low[1], low[2]))
    for x0, y0, z0, x1, y1, z1, state in fills:
        row = array("H", [palette.intern(state)]) * (x1 - x0 + 1)
        for y in range(y0, y1 + 1):
            for z in range(z0, z1 + 1):
                start = grid.index(x0, y, z)
                grid.blocks[start : start + len(row)] = row
    return grid


def traces(document: Document) -> Tally:
    """Physics: position and velocity within 1e-6 after every tick, and the collision flags."""
    tally = Tally("cases (physics)")
    for case in document["cases"]:
        name = case["id"]
        if not case["compare"]:
            tally.leave_out(f"{name}: {case['vanilla']}")
            continue
        grid = build(case["world"], [case["init"]["pos"], *(row[:3] for row in case["trace"])])
        body = physics.Body(*case["init"]["pos"])
        body.vx, body.vy, body.vz = case["init"]["vel"]
        body.on_ground = case["init"]["onGround"]
        keys = [letters for count, letters in case["controls"] for _ in range(count)]
        if len(keys) != len(case["trace"]):
            raise ValueError(f"case {name}: {len(keys)} ticks of controls, {len(case['trace'])} rows of trace")
        wrong = ""
        for i, (held, row) in enumerate(zip(keys, case["trace"], strict=True)):
            yaw = math.radians(case["yaw"][i] if isinstance(case["yaw"], list) else case["yaw"])
            physics.tick(
                body, grid, math.sin(yaw), math.cos(yaw), ("f" in held) - ("b" in held), ("r" in held) - ("l" in held),
                jump="j" in held, sprint="p" in held, sneak="s" in held,
            )  # fmt: skip
            got = (body.x, body.y, body.z, body.vx, body.vy, body.vz)
            error = max(abs(g - w) for g, w in zip(got, row[:6], strict=True))
            tally.error = max(tally.error, error)
            flags = (body.on_ground, body.hit_wall, body.squeezed)
            want = tuple(bool(row[6] >> bit & 1) for bit in range(3))
            if not wrong and not error <= TOLERANCE:
                wrong = f"tick {i}: off by {error:.3g}"
            if not wrong and flags != want:
                wrong = f"tick {i}: {', '.join(_FLAGS)} are {flags}, expected {want}"
        tally.case(name, not wrong, wrong)
    return tally


def rays(document: Document) -> Tally:
    """The first block within reach of the eye: block, name and face equal, distance and point within 1e-6."""
    tally = Tally("cases (rays)")
    grids = [build(fills) for fills in document["worlds"]]
    for i, case in enumerate(document["cases"]):
        yaw, pitch = math.radians(case["yaw"]), math.radians(case["pitch"])
        x, y, z = case["feet"][0], case["feet"][1] + EYE, case["feet"][2]
        ray = (-math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch))
        grid, want = grids[case["w"]], case["hit"]
        hit = grid.cast(x, y, z, *ray, REACH)
        if hit is None or want is None:
            tally.case(f"case {i}", hit is None and want is None, f"got {hit}, expected {want}")
            continue
        point = [p + d * hit[2] for p, d in zip((x, y, z), ray, strict=True)]
        error = max(abs(a - b) for a, b in zip((*point, hit[2]), (*want["point"], want["dist"]), strict=True))
        tally.error = max(tally.error, error)
        got = (list(hit[0]), grid.name(*hit[0]), hit[1])
        expected = (want["block"], want["name"], _NORMALS[want["face"]])
        tally.case(
            f"case {i}", got == expected and error <= TOLERANCE, f"got {got} off by {error:.3g}, expected {expected}"
        )
    return tally
