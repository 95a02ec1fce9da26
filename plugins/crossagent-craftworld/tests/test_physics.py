"""Physics and rays against the golden traces of tests/golden/minecraft."""

import json
from array import array
from math import cos, radians, sin
from pathlib import Path

import pytest

from crossagent_craftworld import palette, physics
from crossagent_craftworld.grid import Grid

GOLDEN = Path(__file__).parents[3] / "tests" / "golden" / "minecraft"
PHYSICS = json.loads((GOLDEN / "physics.json").read_text())["cases"]
RAYCAST = json.loads((GOLDEN / "raycast.json").read_text())
COMPARED = {case["id"]: case for case in PHYSICS if case["compare"]}
# Everything the header marks comparable is compared; nothing is left out.
LEFT_OUT: dict[str, str] = {}


def build(fills):
    """A grid around the fills, with air everywhere else."""
    low = [min(f[a] for f in fills) - 3 for a in range(3)]
    high = [max(f[a + 3] for f in fills) + 4 for a in range(3)]
    high[1] += 90
    size = tuple(h - lo for lo, h in zip(low, high, strict=True))
    base = array("H", bytes(2 * size[0] * size[1] * size[2]))
    grid = Grid(base, size, tuple(low))
    for x0, y0, z0, x1, y1, z1, state in fills:
        value = palette.intern(state)
        for y in range(y0, y1 + 1):
            for z in range(z0, z1 + 1):
                start = grid.index(x0, y, z)
                grid.blocks[start : start + x1 - x0 + 1] = array("H", [value]) * (x1 - x0 + 1)
    return grid


@pytest.mark.parametrize("name", sorted(set(COMPARED) - set(LEFT_OUT)))
def test_trace(name):
    case = COMPARED[name]
    grid = build(case["world"])
    body = physics.Body(*case["init"]["pos"])
    body.vx, body.vy, body.vz = case["init"]["vel"]
    body.on_ground = case["init"]["onGround"]
    keys = [letters for count, letters in case["controls"] for _ in range(count)]
    assert len(keys) == case["ticks"] == len(case["trace"])
    for i, (held, row) in enumerate(zip(keys, case["trace"], strict=True)):
        yaw = radians(case["yaw"][i] if isinstance(case["yaw"], list) else case["yaw"])
        physics.tick(
            body,
            grid,
            sin(yaw),
            cos(yaw),
            ("f" in held) - ("b" in held),
            ("r" in held) - ("l" in held),
            jump="j" in held,
            sprint="p" in held,
            sneak="s" in held,
        )
        assert (body.x, body.y, body.z, body.vx, body.vy, body.vz) == pytest.approx(row[:6], abs=1e-6), f"tick {i}"
        flags = body.on_ground | body.hit_wall << 1 | body.squeezed << 2
        assert flags == row[6] & 7, f"tick {i}: flags"


def test_every_comparable_trace_is_compared():
    assert len(COMPARED) == 69
    assert not set(LEFT_OUT) - set(COMPARED)


@pytest.mark.parametrize("world", range(len(RAYCAST["worlds"])))
def test_raycast(world):
    grid = build(RAYCAST["worlds"][world])
    normals = {"top": (0, 1, 0), "bottom": (0, -1, 0), "north": (0, 0, -1), "south": (0, 0, 1)}
    normals |= {"west": (-1, 0, 0), "east": (1, 0, 0)}
    for case in (c for c in RAYCAST["cases"] if c["w"] == world):
        yaw, pitch = radians(case["yaw"]), radians(case["pitch"])
        x, y, z = case["feet"]
        ray = (-sin(yaw) * cos(pitch), -sin(pitch), cos(yaw) * cos(pitch))
        hit = grid.cast(x, y + 1.62, z, *ray, 4.5)
        want = case["hit"]
        if want is None:
            assert hit is None, case
            continue
        assert hit is not None, case
        assert (list(hit[0]), grid.name(*hit[0])) == (want["block"], want["name"]), case
        assert hit[2] == pytest.approx(want["dist"], abs=1e-6), case
        assert hit[1] == normals[want["face"]], case
