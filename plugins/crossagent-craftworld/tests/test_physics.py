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


def replay(name, ticks):
    """Largest difference of position and velocity from a trace that is not compared as a whole."""
    case = next(case for case in PHYSICS if case["id"] == name)
    grid, body = build(case["world"]), physics.Body(*case["init"]["pos"])
    body.vx, body.vy, body.vz = case["init"]["vel"]
    body.on_ground = case["init"]["onGround"]
    keys = [letters for count, letters in case["controls"] for _ in range(count)]
    worst = 0.0
    for held, row in zip(keys[:ticks], case["trace"], strict=False):
        physics.tick(body, grid, 0.0, 1.0, ("f" in held) - ("b" in held), jump="j" in held, sprint="p" in held)
        got = (body.x, body.y, body.z, body.vx, body.vy, body.vz)
        worst = max(worst, *(abs(a - b) for a, b in zip(got, row[:6], strict=True)))
    return worst


def test_where_the_reference_is_not_vanilla_it_is_followed_up_to_the_difference():
    assert replay("water_float_idle", 60) < 1e-6
    assert replay("water_walk_bottom", 70) < 1e-6
    assert replay("floor_honey_2layer", 30) < 1e-6
    assert replay("floor_soul_sand_2layer_jump", 1) < 1e-6
    assert replay("water_drop_in", 80) < 1e-6
    for name, ticks in (
        ("floor_slime_block_walk", 70),
        ("floor_soul_sand_2layer_jump", 60),
        ("water_swim_fwd_jump", 80),
    ):
        assert replay(name, ticks) > 1e-3, name


POOL = [[-9, 0, -9, 9, 0, 9, "stone"], [-9, 1, -9, 9, 1, 9, "water"]]


def walk(grid, body, ticks):
    for _ in range(ticks):
        physics.tick(body, grid, 0.0, 1.0, 1.0)
    return body


def test_slime_slows_a_walker_by_what_vanilla_says():
    grid = build([[-9, -1, -9, 9, 0, 99, "slime_block"]])
    body = walk(grid, physics.Body(0.5, 1.0, 0.5), 60)
    before = body.z
    walk(grid, body, 20)
    # Two ticks by turns: pushed from the ground (slip 0.8), and from the air with a landing, that slows the walker
    # by 0.4 + 0.2·|vy|. In the steady state the speed after a landing is v = ((v + g)·0.728 + a)·f·0.91.
    g, a, f = 0.98 * 0.1 * 0.1627714 / 0.728**3, 0.98 * 0.02, 0.4 + 0.2 * -physics.STANDING_VY
    v = (0.728 * g + a) * f * 0.91 / (1 - 0.728 * f * 0.91)
    steps = (v + g, (v + g) * 0.728 + a)
    assert (body.z - before) / 20 == pytest.approx(sum(steps) / 2, abs=1e-4)
    assert sum(steps) / 2 < 0.07  # the reference, without this rule, walks at 0.16


def test_water_counts_from_its_surface_and_shallow_water_lets_one_jump():
    grid = build(POOL)
    assert physics.depth(grid, physics.Body(0.5, 1.0, 0.5).box()) == pytest.approx(8 / 9 - 0.001)
    assert physics.depth(grid, physics.Body(0.5, 1.89, 0.5).box()) == 0.0
    deep = physics.Body(0.5, 1.0, 0.5)
    deep.vy = 0.0
    physics.tick(deep, grid, jump=True)
    assert deep.y == pytest.approx(1.04)  # swims up: 8/9 is deeper than 0.4
    shallow = build(
        [*POOL, [-9, 1, -9, 9, 1, 9, "air"], [0, 1, 0, 0, 1, 0, "water"], [-9, 1, 1, 9, 1, 1, "stone_slab"]]
    )
    wading = physics.Body(0.5, 1.5, 1.2)  # on the slab, the box 0.39 in the water beside it
    physics.tick(wading, shallow, jump=True)
    assert wading.in_water
    assert wading.vy > 0.3  # a jump from the ground


def test_a_sneaker_sinks_and_a_swimmer_goes_where_he_looks():
    grid = build([[-9, 0, -9, 9, 0, 9, "stone"], [-9, 1, -9, 9, 9, 9, "water"]])
    still, sneaking = physics.Body(0.5, 6.0, 0.5), physics.Body(0.5, 6.0, 0.5)
    still.vy = sneaking.vy = 0.0
    physics.tick(still, grid)
    physics.tick(sneaking, grid, sneak=True)
    assert sneaking.y - still.y == pytest.approx(-0.04)
    swimmer = physics.Body(0.5, 5.0, 0.5, height=0.6)
    swimmer.vy = 0.0
    for _ in range(10):
        physics.tick(swimmer, grid, 0.0, 1.0, 1.0, sprint=True, dive=0.0)
    assert swimmer.y == pytest.approx(5.0)  # a sprinter does not sink
    fast = swimmer.vz
    assert fast > 1.5 * walk(grid, physics.Body(0.5, 5.0, 0.5), 10).vz
    for _ in range(10):
        physics.tick(swimmer, grid, 0.0, 1.0, 1.0, sprint=True, dive=-0.9)
    assert swimmer.y < 4.0


def test_under_water():
    grid = build(POOL)
    assert physics.submerged(grid, 0.5, 1.5, 0.5)
    assert not physics.submerged(grid, 0.5, 2.62, 0.5)
    assert not physics.submerged(grid, 0.5, 2.05, 0.5)  # in the surface's cell, above it
