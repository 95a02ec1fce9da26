"""Where one can stand and how to walk there: free cells, straight ways, Dijkstra from the goal."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence

from crossagent_craftworld.grid import Cell
from crossagent_craftworld.palette import BOXES, CODE, EMPTY, FLUID, FULL, NAMES, PARTIAL
from crossagent_craftworld.world import World

_JUMP_COST, _DROP_COST = 1.5, 0.3
_HARMFUL = frozenset({"cactus", "magma_block", "campfire", "soul_campfire", "sweet_berry_bush", "fire"})


class Stuck(Exception):
    """The controller cannot get there; ``str`` is the reason, a few words."""


def stand(world: World, cell: Cell) -> bool:
    """Return whether one can stand with the feet in a cell: floor below, two free cells, no water, nothing harmful."""
    x, y, z = cell
    grid = world.grid
    below = grid.get(x, y - 1, z)
    if CODE[below] not in (FULL, PARTIAL) or NAMES[below] in _HARMFUL or grid.index(x, y, z) < 0:
        return False
    for up in (0, 1):
        state = grid.get(x, y + up, z)
        if FLUID[state] or NAMES[state] in _HARMFUL or NAMES[state] == "cobweb":
            return False
        if CODE[state] != EMPTY and (up or max(b[4] for b in BOXES[state]) > 0.2):
            return False
    return True


def feet(world: World) -> Cell:
    """Return the cell the player's feet are in; the one above when he stands on a slab or the like."""
    b = world.body
    cell = (math.floor(b.x), math.floor(b.y + 0.2), math.floor(b.z))
    if CODE[world.grid.get(*cell)] in (FULL, PARTIAL) and not stand(world, cell):
        return (cell[0], cell[1] + 1, cell[2])
    return cell


_SIDES = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1))


class Flow:
    """Walking cost from anywhere to a set of goal cells: Dijkstra from the goals, as far as it was asked for.

    A pure function of the goals and the blocks, whatever is asked first: paths do not depend on history.
    """

    def __init__(self, world: World, goals: Sequence[Cell]) -> None:
        self._world = world
        self._cost: dict[Cell, float] = {}
        self._heap: list[tuple[float, Cell]] = [(0.0, goal) for goal in sorted(set(goals))]
        self._best: dict[Cell, float] = {goal: 0.0 for _, goal in self._heap}
        self._stands: dict[Cell, bool] = {}

    def _stand(self, cell: Cell) -> bool:
        known = self._stands.get(cell)
        if known is None:
            known = self._stands[cell] = stand(self._world, cell)
        return known

    def cost(self, cell: Cell) -> float:
        """Return the cost from a cell; infinite when there is no way."""
        while cell not in self._cost and self._heap:
            cost, here = heapq.heappop(self._heap)
            if here in self._cost:
                continue
            self._cost[here] = cost
            for before, step in self._arrivals(here):
                total = cost + step
                if total < self._best.get(before, math.inf):
                    self._best[before] = total
                    heapq.heappush(self._heap, (total, before))
        return self._cost.get(cell, math.inf)

    def onward(self, cell: Cell) -> list[tuple[Cell, float]]:
        """Return (cell one comes to, cost) of each step from a cell."""
        x, y, z = cell
        out = []
        for dx, dz in _SIDES:
            for dy in (0, 1, -1, -2, -3) if not (dx and dz) else (0,):
                after = (x + dx, y + dy, z + dz)
                if self._stand(after):
                    out += [(after, price) for before, price in self._arrivals(after) if before == cell]
        return out

    def _arrivals(self, cell: Cell) -> list[tuple[Cell, float]]:
        """Return (cell one can come from, cost) for each step that ends in ``cell``."""
        x, y, z = cell
        out: list[tuple[Cell, float]] = []
        get = self._world.grid.get
        for dx, dz in _SIDES:
            if dx and dz:
                before = (x + dx, y, z + dz)
                if self._stand(before) and self._clear(x + dx, y, z) and self._clear(x, y, z + dz):
                    out.append((before, 1.4142))
                continue
            for rise in (0, -1, 1, 2, 3):
                before = (x + dx, y + rise, z + dz)
                if not self._stand(before):
                    continue
                if rise == -1 and CODE[get(before[0], before[1] + 2, before[2])] != EMPTY:
                    continue
                if rise > 0 and any(CODE[get(x, y + up, z)] != EMPTY for up in range(2, 2 + rise)):
                    continue
                out.append((before, 1.0 + (_JUMP_COST if rise < 0 else _DROP_COST * rise)))
        return out

    def _clear(self, x: int, y: int, z: int) -> bool:
        get = self._world.grid.get
        return self._stand((x, y, z)) or (
            CODE[get(x, y, z)] == EMPTY and CODE[get(x, y + 1, z)] == EMPTY and self._stand((x, y - 1, z))
        )

    def step(self, cell: Cell) -> Cell | None:
        """Return the next cell on the way from a cell, None when there is none or it is a goal."""
        cost = self.cost(cell)
        if cost in (0.0, math.inf):
            return None
        best: tuple[float, Cell] | None = None
        x, y, z = cell
        for dx, dz in _SIDES:
            for dy in (0, 1, -1, -2, -3) if not (dx and dz) else (0,):
                after = (x + dx, y + dy, z + dz)
                for before, price in self._arrivals(after) if after in self._best and after in self._cost else ():
                    if before == cell:
                        total = self._cost[after] + price
                        if best is None or (total, after) < best:
                            best = (total, after)
        return best[1] if best is not None else None


def reachable(world: World, start: Cell, most: float = 80.0) -> Iterator[Cell]:
    """Yield the cells one can walk to, nearest first, the start included."""
    flow = Flow(world, ())
    best, heap = {start: 0.0}, [(0.0, start)]
    while heap:
        cost, cell = heapq.heappop(heap)
        if cost > best[cell]:
            continue
        yield cell
        for after, price in flow.onward(cell):
            total = cost + price
            if total < best.get(after, most):
                best[after] = total
                heapq.heappush(heap, (total, after))


def _flow(world: World, goals: Sequence[Cell]) -> Flow:
    key = (world.grid.version, tuple(goals))
    cached = world.memory.get("flow")
    if cached is None or cached[0] != key:
        cached = world.memory["flow"] = (key, Flow(world, goals))
    flow: Flow = cached[1]
    return flow


def _headroom(world: World, x: float, y: int, z: float) -> bool:
    """Return whether one can jump there: nothing above the head, as wide as one is."""
    xs, zs = {math.floor(x - 0.3), math.floor(x + 0.3)}, {math.floor(z - 0.3), math.floor(z + 0.3)}
    return all(CODE[world.grid.get(i, y + 2, k)] == EMPTY for i in xs for k in zs)


def straight(world: World, goal: Cell) -> bool:
    """Return whether one can simply walk towards a cell: flat or single steps, nothing in the way of the shoulders."""
    b = world.body
    dx, dz = goal[0] + 0.5 - b.x, goal[2] + 0.5 - b.z
    length = math.hypot(dx, dz)
    if length < 1e-6:
        return True
    ux, uz = dx / length, dz / length
    heights: dict[tuple[int, int, int], int] = {}
    y = feet(world)[1]
    for i in range(1, int(length / 0.4) + 2):
        t = min(i * 0.4, length)
        here = y
        for side in (0.0, -0.3, 0.3):
            x, z = math.floor(b.x + ux * t - uz * side), math.floor(b.z + uz * t + ux * side)
            known = heights.get((x, z, here))
            if known is None:
                known = heights[x, z, here] = next(
                    (h for h in (here, here + 1, here - 1) if stand(world, (x, h, z))), -1
                )
            if known < 0:
                return False
            if side == 0.0:
                if known > y and world.headroom and not _headroom(world, b.x + ux * (t - 0.4), y, b.z + uz * (t - 0.4)):
                    return False
                y = known
    return y == goal[1]


def next_cell(world: World, goals: Sequence[Cell], start: Cell | None = None) -> Cell:
    """Return the farthest cell on the way to the goals that can be walked to straight; raises :class:`Stuck`."""
    here: Cell = start or feet(world)
    nearest = min(goals, key=lambda g: ((g[0] - here[0]) ** 2 + (g[2] - here[2]) ** 2, g)) if goals else None
    if nearest is None:
        raise Stuck("no place to stand")
    if straight(world, nearest):
        return nearest
    flow = _flow(world, goals)
    below = (here[0], here[1] - 1, here[2])
    if world.headroom and not stand(world, here) and stand(world, below):
        here = below  # in the middle of a jump: the way goes on from where it began
    cell: Cell = here
    if flow.cost(cell) == math.inf:
        if stand(world, here):
            raise Stuck("no path")
        # in the air, at an edge or in water: the nearest cell from which there is a way
        x, y, z = here
        around = [
            (math.hypot(i, k) + abs(j) * 0.5, (x + i, y + j, z + k))
            for i in range(-2, 3) for k in range(-2, 3) for j in range(-2, 2)
        ]  # fmt: skip
        around.sort()
        found = next((c for _, c in around if flow.cost(c) < math.inf), None)
        if found is None:
            raise Stuck("no path")
        return found
    far = cell
    for _ in range(12):
        after = flow.step(cell)
        if after is None or (far != here and not straight(world, after)):
            break
        far = cell = after
    return far
