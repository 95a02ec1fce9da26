"""The loops over pixels, compiled by numba at first use and kept in its cache: rays through blocks, boxes of mobs, light.

Rays walk the cells as :meth:`crossagent_craftworld.grid.Grid.cast` does (Amanatides & Woo 1987), in float64 and without
reordering, so that the block in the middle of the picture is the block under the crosshair.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_SOLID, _PARTS, _CROSSED, _FLUID = 1, 2, 3, 4  # shapes.SOLID…; the compiler wants constants of this module
FAR = 1e9
_FACE_LIGHT = (0.62, 0.62, 0.5, 1.0, 0.8, 0.8)
_OFFSETS = (0, 256, 320, 336, 340)


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call, and keep the result beside it or in the user's cache, where one is writable."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # "no locator available": neither place can be written
        return numba.njit(nogil=True, error_model="numpy")(function)


@_jit
def spread_light(blocks, sx, sy, sz, clear, glow, light, queue):  # type: ignore[no-untyped-def]
    """Fill ``light`` [sy + 2, sz + 2, sx + 2] with 16·sky + block light; opaque cells are 0 unless they glow.

    Sky light falls straight down through clear cells (1) and spreads one level less a step, through cells that scatter it
    (2) too; block light starts from what glows. The border around the scene is open sky. ``queue`` is int32 and holds
    4 entries a cell.
    """
    wx, wz = sx + 2, sz + 2
    layer = wx * wz
    flat = light.reshape(-1)
    for i in range(flat.size):
        flat[i] = 240
    for pass_ in range(2):
        head = tail = 0
        for z in range(sz):
            for x in range(sx):
                open_sky = pass_ == 0
                for y in range(sy - 1, -1, -1):
                    state = np.int64(blocks[(y * sz + z) * sx + x])
                    at = (y + 1) * layer + (z + 1) * wx + x + 1
                    if pass_ == 0:
                        if clear[state] != 1:
                            open_sky = False
                        flat[at] = 240 if open_sky else 0
                        if open_sky:
                            queue[tail] = at
                            tail += 1
                    elif glow[state]:
                        flat[at] = (np.int64(flat[at]) & 240) | np.int64(glow[state])
                        queue[tail] = at
                        tail += 1
        while head < tail:
            at = queue[head]
            head += 1
            value = np.int64(flat[at])
            level = value >> 4 if pass_ == 0 else value & 15
            if level <= 1:
                continue
            y, rest = at // layer, at % layer
            z, x = rest // wx, rest % wx
            for side in range(6):
                nx = x + (side == 1) - (side == 0)
                ny = y + (side == 3) - (side == 2)
                nz = z + (side == 5) - (side == 4)
                if nx < 1 or nx > sx or ny < 1 or ny > sy or nz < 1 or nz > sz:
                    continue
                if not clear[blocks[((ny - 1) * sz + nz - 1) * sx + nx - 1]]:
                    continue
                to = ny * layer + nz * wx + nx
                value = np.int64(flat[to])
                have = value >> 4 if pass_ == 0 else value & 15
                if have + 1 < level and tail < queue.size:
                    flat[to] = (value & 15) | ((level - 1) << 4) if pass_ == 0 else (value & 240) | (level - 1)
                    queue[tail] = to
                    tail += 1


@_jit
def _texel(u, v, level):  # type: ignore[no-untyped-def]
    """Return the index of a texel; u, v in 0…1 from the top left."""
    size = 16 >> level
    x = min(size - 1, max(0, int(u * size)))
    y = min(size - 1, max(0, int(v * size)))
    return _OFFSETS[level] + y * size + x


@_jit
def _uv(face, px, py, pz):  # type: ignore[no-untyped-def]
    """Return where on its texture a point of a face is; the point is inside the cell, 0…1."""
    if face == 0:
        return pz, 1.0 - py
    if face == 1:
        return 1.0 - pz, 1.0 - py
    if face == 2 or face == 3:
        return px, pz
    if face == 4:
        return 1.0 - px, 1.0 - py
    return px, 1.0 - py


@_jit
def _slab(x0, y0, z0, x1, y1, z1, px, py, pz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Return (distance, face) where a ray enters a box, (FAR, −1) when it misses; from inside: where it leaves, negative face."""
    near, far, face = -FAR, FAR, -1
    for axis in range(3):
        if axis == 0:
            p, d, low, high = px, dx, x0, x1
        elif axis == 1:
            p, d, low, high = py, dy, y0, y1
        else:
            p, d, low, high = pz, dz, z0, z1
        if -1e-12 < d < 1e-12:
            if p < low or p > high:
                return FAR, -1
            continue
        a, b = (low - p) / d, (high - p) / d
        side = 2 * axis
        if a > b:
            a, b, side = b, a, 2 * axis + 1
        if a > near:
            near, face = a, side
        far = min(far, b)
    if near > far or far < 0.0 or near < 0.0:
        return FAR, -1
    return near, face


@_jit
def sky(dx, dy, dz, look, out):  # type: ignore[no-untyped-def]
    """Write the colour of the sky along a unit vector into ``out``.

    ``look``: 0–2 zenith, 3–5 horizon, 6–8 unit vector to the sun, 9 stars 0…1, 10–12 eye, 13 clouds 0…1, 14 drift, 15 day.
    """
    up = max(0.0, dy)
    blend = 1.0 - (1.0 - min(1.0, up * 1.6)) ** 2
    for c in range(3):
        out[c] = look[3 + c] + (look[c] - look[3 + c]) * blend
    if dy < 0.0:
        haze = max(0.72, 1.0 + 0.9 * dy)
        for c in range(3):
            out[c] *= haze
        return
    toward = dx * look[6] + dy * look[7] + dz * look[8]
    if look[9] > 0.02:
        size = 90.0
        ax, ay, az = abs(dx), abs(dy), abs(dz)
        m = max(ax, max(ay, az))
        gx, gy, gz = int(dx / m * size + 200), int(dy / m * size + 200), int(dz / m * size + 200)
        h = (gx * 73856093) ^ (gy * 19349663) ^ (gz * 83492791)
        h = (h ^ (h >> 13)) * 1274126177 & 0x7FFFFFFF
        if h % 223 == 0:
            shine = look[9] * (0.5 + 0.5 * ((h >> 8) % 100) / 100.0) * min(1.0, dy * 4.0)
            for c in range(3):
                out[c] += (250.0 - out[c]) * shine
    # sun and moon are squares: the largest of the two offsets across the direction to them
    for body in range(2):
        sign = 1.0 if body == 0 else -1.0
        along = toward * sign
        if along > 0.9:
            u = abs((dx * look[7] - dy * look[6]) / along)
            v = abs(dz - look[8] * toward) / along
            wide = max(u, v)
            if body == 0:
                if wide < 0.09:
                    out[0], out[1], out[2] = 255.0, 250.0, 214.0
                else:
                    glare = max(0.0, 1.0 - wide / 0.4)
                    for c in range(3):
                        out[c] += (255.0 - 22.0 * c - out[c]) * 0.5 * glare * glare
            elif wide < 0.07:
                dark = 0.86 if (int((dx + 2) * 60) + int((dy + 2) * 60)) % 3 == 0 else 1.0
                for c in range(3):
                    out[c] += ((214.0 + 6.0 * c) * dark - out[c]) * (1.0 - 0.7 * look[15])
    if dy > 0.03 and look[13] > 0.0:
        t = (62.0 - look[11]) / dy
        if 0.0 < t < 420.0:
            cx, cz = math.floor((look[10] + dx * t + look[14]) / 9.0), math.floor((look[12] + dz * t) / 9.0)
            # clumps: a coarse cell decides whether there is cloud at all, a fine one eats its edges
            a = ((cx >> 1) * 374761393 + (cz >> 1) * 668265263) & 0x7FFFFFFF
            a = (a ^ (a >> 13)) * 1274126177 & 0x7FFFFFFF
            b = (cx * 2246822519 + cz * 3266489917) & 0x7FFFFFFF
            b = (b ^ (b >> 15)) * 2654435761 & 0x7FFFFFFF
            if a % 100 < 30 and b % 100 < 82:
                cover = 0.78 * look[13] * (1.0 - t / 420.0)
                for c in range(3):
                    out[c] += (look[16] - out[c]) * cover


@_jit
def entities(prims, turns, prim_faces, light, texels, eye, frame, tans, width, height, depth, colour):  # type: ignore[no-untyped-def]
    """Draw boxes and extruded sprites into ``depth`` and ``colour`` where they are nearer than what is there.

    Args:
        prims: [n, 10] kind (0 box, 1 sprite 16×16 in the box's x and y), origin x, y, z, box x0, y0, z0, x1, y1, z1.
        turns: [n, 3, 3] rows: the box's axes in world coordinates.
        prim_faces: [n, 6] textures.
        light: [n, 3] factor per channel.
        texels: the atlas.
        eye: [3].
        frame: [3, 3] rows: right, up, forward.
        tans: [2] tangents of half the horizontal and vertical field of view.
        width: of the picture.
        height: of the picture.
        depth: [height, width] distances along the ray.
        colour: [height, width, 3] uint8.
    """
    for n in range(prims.shape[0]):
        ox, oy, oz = prims[n, 1] - eye[0], prims[n, 2] - eye[1], prims[n, 3] - eye[2]
        left, right, top, bottom = 1e9, -1e9, 1e9, -1e9
        ahead, behind = False, False
        for corner in range(8):
            bx = prims[n, 4] if corner & 1 else prims[n, 7]
            by = prims[n, 5] if corner & 2 else prims[n, 8]
            bz = prims[n, 6] if corner & 4 else prims[n, 9]
            wx = ox + bx * turns[n, 0, 0] + by * turns[n, 1, 0] + bz * turns[n, 2, 0]
            wy = oy + bx * turns[n, 0, 1] + by * turns[n, 1, 1] + bz * turns[n, 2, 1]
            wz = oz + bx * turns[n, 0, 2] + by * turns[n, 1, 2] + bz * turns[n, 2, 2]
            away = wx * frame[2, 0] + wy * frame[2, 1] + wz * frame[2, 2]
            if away < 0.02:
                behind = True
                continue
            ahead = True
            a = (wx * frame[0, 0] + wy * frame[0, 1] + wz * frame[0, 2]) / away / tans[0]
            b = (wx * frame[1, 0] + wy * frame[1, 1] + wz * frame[1, 2]) / away / tans[1]
            left, right = min(left, a), max(right, a)
            top, bottom = min(top, -b), max(bottom, -b)
        if not ahead:
            continue
        i0, i1, j0, j1 = 0, width - 1, 0, height - 1
        if not behind:
            i0, i1 = max(0, int((left + 1) / 2 * width) - 1), min(width - 1, int((right + 1) / 2 * width) + 1)
            j0, j1 = max(0, int((top + 1) / 2 * height) - 1), min(height - 1, int((bottom + 1) / 2 * height) + 1)
        px = -(ox * turns[n, 0, 0] + oy * turns[n, 0, 1] + oz * turns[n, 0, 2])
        py = -(ox * turns[n, 1, 0] + oy * turns[n, 1, 1] + oz * turns[n, 1, 2])
        pz = -(ox * turns[n, 2, 0] + oy * turns[n, 2, 1] + oz * turns[n, 2, 2])
        x0, y0, z0, x1, y1, z1 = prims[n, 4], prims[n, 5], prims[n, 6], prims[n, 7], prims[n, 8], prims[n, 9]
        for j in range(j0, j1 + 1):
            b = (1.0 - 2.0 * (j + 0.5) / height) * tans[1]
            for i in range(i0, i1 + 1):
                a = (2.0 * (i + 0.5) / width - 1.0) * tans[0]
                vx = frame[2, 0] + a * frame[0, 0] + b * frame[1, 0]
                vy = frame[2, 1] + a * frame[0, 1] + b * frame[1, 1]
                vz = frame[2, 2] + a * frame[0, 2] + b * frame[1, 2]
                scale = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
                vx, vy, vz = vx * scale, vy * scale, vz * scale
                dx = vx * turns[n, 0, 0] + vy * turns[n, 0, 1] + vz * turns[n, 0, 2]
                dy = vx * turns[n, 1, 0] + vy * turns[n, 1, 1] + vz * turns[n, 1, 2]
                dz = vx * turns[n, 2, 0] + vy * turns[n, 2, 1] + vz * turns[n, 2, 2]
                t, face = _slab(x0, y0, z0, x1, y1, z1, px, py, pz, dx, dy, dz)
                if face < 0 or t >= depth[j, i]:
                    continue
                if prims[n, 0] == 0.0:
                    hx = (px + dx * t - x0) / (x1 - x0)
                    hy = (py + dy * t - y0) / (y1 - y0)
                    hz = (pz + dz * t - z0) / (z1 - z0)
                    u, v = _uv(face, hx, hy, hz)
                    at = _texel(u, v, 0)
                    tex = prim_faces[n, face]
                    if texels[tex, at, 3] < 128:
                        continue
                else:
                    # through the sprite's 16×16 columns until one is filled
                    gx, gy = (x1 - x0) / 16.0, (y1 - y0) / 16.0
                    hx, hy = (px + dx * t - x0) / gx, (py + dy * t - y0) / gy
                    cx, cy = min(15, max(0, int(hx))), min(15, max(0, int(hy)))
                    tex = prim_faces[n, 0]
                    found = False
                    while True:
                        at = (15 - cy) * 16 + cx
                        if texels[tex, at, 3] >= 128:
                            found = True
                            break
                        nx = ((cx + (1 if dx > 0 else 0)) * gx + x0 - px) / dx if abs(dx) > 1e-12 else FAR
                        ny = ((cy + (1 if dy > 0 else 0)) * gy + y0 - py) / dy if abs(dy) > 1e-12 else FAR
                        if nx < ny:
                            t, face = nx, 0 if dx > 0 else 1
                            cx += 1 if dx > 0 else -1
                        else:
                            t, face = ny, 2 if dy > 0 else 3
                            cy += 1 if dy > 0 else -1
                        z = pz + dz * t
                        if cx < 0 or cx > 15 or cy < 0 or cy > 15 or z < z0 or z > z1 or t >= depth[j, i]:
                            break
                    if not found:
                        continue
                nx = turns[n, face // 2, 1] * (1.0 if face % 2 else -1.0)
                factor = 0.75 + 0.25 * nx if prims[n, 0] == 0.0 else (1.0 if face > 3 else 0.72)
                if prims[n, 0] == 0.0 and face < 2:
                    factor *= 0.85
                depth[j, i] = t
                for c in range(3):
                    colour[j, i, c] = min(255.0, texels[tex, at, c] * factor * light[n, c])


@_jit
def cast(  # type: ignore[no-untyped-def]
    blocks, sx, sy, sz, kind, faces, first, count, boxes, texels, light, lut, eye, frame, tans, look, fog, marked, cracks,
    width, height, depth, colour, picked,
):  # fmt: skip
    """Draw the blocks: one ray a pixel, stopped by what :func:`entities` has left in ``depth``.

    Args:
        blocks: [sy · sz · sx] state ids, as in the world's grid.
        sx: size.
        sy: size.
        sz: size.
        kind: with ``faces``, ``first``, ``count``, ``boxes``, ``texels``: the atlas.
        faces: see there.
        first: see there.
        count: see there.
        boxes: see there.
        texels: see there.
        light: of :func:`spread_light`.
        lut: [256, 3] factor of each light value.
        eye: [3], in the grid's cells.
        frame: [3, 3] rows: right, up, forward.
        tans: [2] tangents of half the field of view.
        look: of :func:`sky`.
        fog: [2] distances where it begins and where nothing else is left.
        marked: [4] cell under the crosshair (x, y, z; −1 none) and how far it is broken (−1…9).
        cracks: [16, 16] value below which a texel is cracked, 0…10.
        width: of the picture.
        height: of the picture.
        depth: [height, width] of the entities; becomes the distance of what is seen.
        colour: [height, width, 3] of the entities; becomes the picture.
        picked: [height, width] int32, index of the block that is seen, −1 sky, −2 entity.
    """
    layer, row = (sz + 2) * (sx + 2), sx + 2
    lights = light.reshape(-1)
    out = np.zeros(3)
    sum_ = np.zeros(3)
    pixel = 2.0 * tans[1] / height
    ex, ey, ez = eye[0], eye[1], eye[2]
    for j in range(height):
        b = (1.0 - 2.0 * (j + 0.5) / height) * tans[1]
        for i in range(width):
            a = (2.0 * (i + 0.5) / width - 1.0) * tans[0]
            dx = frame[2, 0] + a * frame[0, 0] + b * frame[1, 0]
            dy = frame[2, 1] + a * frame[0, 1] + b * frame[1, 1]
            dz = frame[2, 2] + a * frame[0, 2] + b * frame[1, 2]
            scale = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx * scale, dy * scale, dz * scale
            limit = depth[j, i]
            seen = -2 if limit < FAR else -1
            left = 1.0  # how much of what lies behind is still seen
            sum_[0] = sum_[1] = sum_[2] = 0.0
            cx, cy, cz = math.floor(ex), math.floor(ey), math.floor(ez)
            t, face = 0.0, -1
            inside = True
            if cx < 0 or cx >= sx or cy < 0 or cy >= sy or cz < 0 or cz >= sz:
                t, face = _slab(0.0, 0.0, 0.0, sx, sy, sz, ex, ey, ez, dx, dy, dz)
                inside = face >= 0
                if inside:
                    cx = min(sx - 1, max(0, math.floor(ex + dx * t)))
                    cy = min(sy - 1, max(0, math.floor(ey + dy * t)))
                    cz = min(sz - 1, max(0, math.floor(ez + dz * t)))
            stx = sty = stz = 0
            tx = ty = tz = FAR
            gx = gy = gz = FAR
            if dx > 1e-12:
                stx, tx, gx = 1, (cx + 1 - ex) / dx, 1.0 / dx
            elif dx < -1e-12:
                stx, tx, gx = -1, (cx - ex) / dx, -1.0 / dx
            if dy > 1e-12:
                sty, ty, gy = 1, (cy + 1 - ey) / dy, 1.0 / dy
            elif dy < -1e-12:
                sty, ty, gy = -1, (cy - ey) / dy, -1.0 / dy
            if dz > 1e-12:
                stz, tz, gz = 1, (cz + 1 - ez) / dz, 1.0 / dz
            elif dz < -1e-12:
                stz, tz, gz = -1, (cz - ez) / dz, -1.0 / dz
            step_y, step_z = sty * sx * sz, stz * sx
            before = np.int64(0)
            end = limit
            cell = (cy * sz + cz) * sx + cx
            while inside and t < limit:
                state = np.int64(blocks[cell])
                if state and kind[state]:
                    k = kind[state]
                    hit, side, at, alpha = FAR, -1, 0, 0.0
                    own = False  # lit by its own cell, flat
                    if k == _SOLID:
                        if face >= 0 and before != state:
                            hit, side = t, face
                    elif k == _FLUID:
                        above = np.int64(blocks[cell + sx * sz]) if cy + 1 < sy else 0
                        level = 1.0 if above == state else 8.0 / 9.0
                        hit, side = _slab(0.0, 0.0, 0.0, 1.0, level, 1.0, ex - cx, ey - cy, ez - cz, dx, dy, dz)
                        own = True
                        if before == state and (side != 3 or level == 1.0):
                            side = -1  # from water into water
                    elif k == _PARTS:
                        for n in range(first[state], first[state] + count[state]):
                            t2, s2 = _slab(boxes[n, 0], boxes[n, 1], boxes[n, 2], boxes[n, 3], boxes[n, 4], boxes[n, 5],
                                           ex - cx, ey - cy, ez - cz, dx, dy, dz)  # fmt: skip
                            if s2 >= 0 and t2 < hit:
                                px, py, pz = ex - cx + dx * t2, ey - cy + dy * t2, ez - cz + dz * t2
                                u, v = _uv(s2, px, py, pz)
                                if texels[faces[state, s2], _texel(u, v, 0), 3] > 8:
                                    hit, side = t2, s2
                        own = True
                    else:
                        n = first[state]
                        low, high, tall = boxes[n, 0], boxes[n, 3], boxes[n, 4]
                        wide = high - low
                        for quad in range(2):
                            # x = z, then x + z = 1, inside the outline
                            if quad == 0:
                                slope, rest = dx - dz, (ez - cz) - (ex - cx)
                            else:
                                slope, rest = dx + dz, 1.0 - (ez - cz) - (ex - cx)
                            if abs(slope) < 1e-12:
                                continue
                            t2 = rest / slope
                            px, py = ex - cx + dx * t2, ey - cy + dy * t2
                            if t2 <= 0.0 or t2 >= hit or px < low or px > high or py < 0.0 or py > tall:
                                continue
                            texel = _texel((px - low) / wide, 1.0 - py / tall, 0)
                            if texels[faces[state, 0], texel, 3] >= 128:
                                hit, side, at = t2, 6 + quad, texel
                        own = True
                    if side >= 0 and hit < limit:
                        px, py, pz = ex - cx + dx * hit, ey - cy + dy * hit, ez - cz + dz * hit
                        if side < 6:
                            tex = np.int64(faces[state, side])
                            u, v = _uv(side, px, py, pz)
                            slant = abs(dx) if side < 2 else abs(dy) if side < 4 else abs(dz)
                            size = hit * pixel * 16.0 / max(slant, 0.25)
                            mip = 0 if size < 1.5 else 1 if size < 3.0 else 2 if size < 6.0 else 3 if size < 12.0 else 4
                            at = _texel(u, v, 0) if k == _FLUID else _texel(u, v, mip)
                            shade = _FACE_LIGHT[side]
                        else:
                            tex = np.int64(faces[state, 0])
                            shade = 0.95
                        alpha = texels[tex, at, 3] / 255.0
                        if k in (_PARTS, _CROSSED):
                            alpha = 1.0 if alpha > 0.3 or k == _CROSSED else alpha
                        lx, ly, lz = cx + 1, cy + 1, cz + 1
                        if not own:
                            if side == 0:
                                lx -= 1
                            elif side == 1:
                                lx += 1
                            elif side == 2:
                                ly -= 1
                            elif side == 3:
                                ly += 1
                            elif side == 4:
                                lz -= 1
                            else:
                                lz += 1
                        at0 = ly * layer + lz * row + lx
                        value = lights[at0]
                        r, g, bl = lut[value, 0], lut[value, 1], lut[value, 2]
                        if not own:
                            # blend with the cells beside the one in front of the face: smooth light, dark corners
                            if side < 2:
                                u, v, du, dv = py, pz, layer, row
                            elif side < 4:
                                u, v, du, dv = px, pz, 1, row
                            else:
                                u, v, du, dv = px, py, 1, layer
                            if u < 0.5:
                                du = -du
                            if v < 0.5:
                                dv = -dv
                            wu, wv = abs(u - 0.5), abs(v - 0.5)
                            va, vb, vc = lights[at0 + du], lights[at0 + dv], lights[at0 + du + dv]
                            if va != value or vb != value or vc != value:  # in the open they are all the same
                                w0, w1, w2, w3 = (1 - wu) * (1 - wv), wu * (1 - wv), (1 - wu) * wv, wu * wv
                                r = r * w0 + lut[va, 0] * w1 + lut[vb, 0] * w2 + lut[vc, 0] * w3
                                g = g * w0 + lut[va, 1] * w1 + lut[vb, 1] * w2 + lut[vc, 1] * w3
                                bl = bl * w0 + lut[va, 2] * w1 + lut[vb, 2] * w2 + lut[vc, 2] * w3
                        if cx == marked[0] and cy == marked[1] and cz == marked[2] and side < 6:
                            u, v = _uv(side, px, py, pz)
                            stage = marked[3]
                            if stage >= 0:
                                crack = cracks[min(15, int(v * 16)), min(15, max(0, int(u * 16)))]
                                if crack <= stage:
                                    shade *= 0.42
                            line = 0.004 + 0.0022 * hit
                            if k == _SOLID and (u < line or v < line or u > 1 - line or v > 1 - line):
                                shade *= 0.25
                        thick = min(1.0, max(0.0, (hit - fog[0]) / (fog[1] - fog[0])))
                        share = left * alpha
                        if thick > 0.0:
                            sky(dx, min(dy, 0.0), dz, look, out)
                            clear_ = share * (1.0 - thick)
                            sum_[0] += out[0] * share * thick + texels[tex, at, 0] * shade * r * clear_
                            sum_[1] += out[1] * share * thick + texels[tex, at, 1] * shade * g * clear_
                            sum_[2] += out[2] * share * thick + texels[tex, at, 2] * shade * bl * clear_
                        else:
                            sum_[0] += texels[tex, at, 0] * shade * r * share
                            sum_[1] += texels[tex, at, 1] * shade * g * share
                            sum_[2] += texels[tex, at, 2] * shade * bl * share
                        left -= share
                        if seen < 0 and k != _FLUID and alpha > 0.0:
                            seen = cell
                            end = hit
                        if left < 0.02:
                            left = 0.0
                            break
                before = state
                if tx < ty and tx < tz:
                    t, face = tx, 0 if stx > 0 else 1
                    cx += stx
                    cell += stx
                    tx += gx
                    if cx < 0 or cx >= sx:
                        break
                elif ty < tz and ty <= tx:
                    t, face = ty, 2 if sty > 0 else 3
                    cy += sty
                    cell += step_y
                    ty += gy
                    if cy < 0 or cy >= sy:
                        break
                else:
                    t, face = tz, 4 if stz > 0 else 5
                    cz += stz
                    cell += step_z
                    tz += gz
                    if cz < 0 or cz >= sz:
                        break
            if left > 0.0:
                if limit < FAR:
                    thick = min(1.0, max(0.0, (limit - fog[0]) / (fog[1] - fog[0])))
                    if thick > 0.0:
                        sky(dx, min(dy, 0.0), dz, look, out)
                    for c in range(3):
                        sum_[c] += left * (colour[j, i, c] * (1.0 - thick) + out[c] * thick)
                else:
                    sky(dx, dy, dz, look, out)
                    for c in range(3):
                        sum_[c] += left * out[c]
            depth[j, i] = end
            picked[j, i] = seen
            for c in range(3):
                colour[j, i, c] = min(255.0, sum_[c])


@_jit
def lay_over(layer, colour):  # type: ignore[no-untyped-def]
    """Put a layer [height, width, RGBA] with premultiplied alpha over a picture [height, width, 3] of the same size."""
    for j in range(colour.shape[0]):
        for i in range(colour.shape[1]):
            alpha = np.int64(layer[j, i, 3])
            if alpha:
                for c in range(3):
                    colour[j, i, c] = min(
                        255, np.int64(layer[j, i, c]) + np.int64(colour[j, i, c]) * (255 - alpha) // 255
                    )


@_jit
def resize(layer, out):  # type: ignore[no-untyped-def]
    """Scale a premultiplied layer: the mean over each pixel's area, or the nearest pixel where it is enlarged."""
    height, width = layer.shape[0], layer.shape[1]
    ky, kx = height / out.shape[0], width / out.shape[1]
    sum_ = np.zeros(4)
    for j in range(out.shape[0]):
        y0, y1 = j * ky, (j + 1) * ky
        for i in range(out.shape[1]):
            x0, x1 = i * kx, (i + 1) * kx
            if kx <= 1.0 and ky <= 1.0:
                for c in range(4):
                    out[j, i, c] = layer[int((y0 + y1) / 2), int((x0 + x1) / 2), c]
                continue
            sum_[:] = 0.0
            whole = 0.0
            for y in range(int(y0), min(height, math.ceil(y1))):
                wy = min(y + 1.0, y1) - max(float(y), y0)
                for x in range(int(x0), min(width, math.ceil(x1))):
                    weight = wy * (min(x + 1.0, x1) - max(float(x), x0))
                    if weight <= 0.0:
                        continue
                    whole += weight
                    if layer[y, x, 3]:
                        for c in range(4):
                            sum_[c] += weight * layer[y, x, c]
            for c in range(4):
                out[j, i, c] = int(sum_[c] / whole + 0.5)
