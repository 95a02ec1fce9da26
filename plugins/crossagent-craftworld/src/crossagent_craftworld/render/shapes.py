"""How a block state is drawn: as a cube, as boxes, as crossed quads or as a fluid, and the texture of each face."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from crossagent_craftworld.palette import OUTLINES, STATES
from crossagent_craftworld.render.paint import WOODS
from crossagent_minecraft_data.blocks import BLOCKS, CUBE, Box, default_properties, split_state

NOTHING, SOLID, PARTS, CROSSED, FLUID = range(5)
Faces = tuple[str, str, str, str, str, str]
"""Texture keys to the west, east, below, above, north and south (−x, +x, −y, +y, −z, +z)."""
_SIDE = {"west": 0, "east": 1, "down": 2, "up": 3, "north": 4, "south": 5}
_OPPOSITE = {"west": "east", "east": "west", "north": "south", "south": "north"}
_CROP = ("wheat", "carrots", "potatoes", "beetroots", "nether_wart", "sweet_berry_bush")
_FLOWER = (
    "dandelion", "poppy", "blue_orchid", "allium", "azure_bluet", "oxeye_daisy", "cornflower", "wither_rose",
    "lily_of_the_valley", "sunflower", "lilac", "rose_bush", "peony", "red_tulip", "orange_tulip", "white_tulip", "pink_tulip",
)  # fmt: skip
_BLADE = (
    "grass", "fern", "tall_grass", "large_fern", "dead_bush", "seagrass", "tall_seagrass", "kelp", "kelp_plant", "sugar_cane",
    "nether_sprouts", "crimson_roots", "warped_roots", "weeping_vines", "weeping_vines_plant", "twisting_vines",
    "twisting_vines_plant", "bamboo_sapling", "melon_stem", "pumpkin_stem", "attached_melon_stem", "attached_pumpkin_stem",
)  # fmt: skip
_MUSHROOM = ("brown_mushroom", "red_mushroom", "crimson_fungus", "warped_fungus")
_UNSEEN = ("air", "cave_air", "void_air", "barrier", "structure_void", "moving_piston", "bubble_column", "tripwire")
_MADE_OF = (
    "_slab", "_stairs", "_wall", "_fence_gate", "_fence", "_pressure_plate", "_button", "_trapdoor", "_wall_sign", "_sign",
)  # fmt: skip
_MATERIAL = {
    "smooth_quartz": "quartz_block", "quartz": "quartz_block", "purpur": "purpur_block", "light_weighted": "gold_block",
    "heavy_weighted": "iron_block", "petrified_oak": "oak_planks", "iron": "iron_block", "brick": "bricks",
}  # fmt: skip
# Blocks that are one texture all round: name (or an end of it) → key.
_EVEN: dict[str, str] = {
    "dirt": "dirt:dirt", "coarse_dirt": "dirt:coarse", "cobblestone": "cobble:cobblestone", "gravel": "rough:gravel",
    "mossy_cobblestone": "cobble:mossy_cobblestone", "infested_cobblestone": "cobble:cobblestone",
    "bedrock": "bedrock:bedrock", "obsidian": "obsidian:obsidian", "crying_obsidian": "obsidian:crying_obsidian",
    "netherrack": "rough:netherrack", "soul_sand": "rough:soul_sand", "soul_soil": "rough:soul_soil", "lava": "molten:lava",
    "magma_block": "molten:magma", "cobweb": "web:web", "bookshelf": "shelf:books", "glowstone": "lamp:glowstone",
    "sea_lantern": "lamp:sea_lantern", "shroomlight": "lamp:shroomlight", "redstone_lamp": "lamp:redstone_lamp",
    "sponge": "sponge:sponge", "wet_sponge": "sponge:wet_sponge", "nether_wart_block": "wart:crimson",
    "warped_wart_block": "wart:warped", "tnt": "tnt:side", "clay": "fine:clay", "snow_block": "fine:snow", "snow": "fine:snow",
    "sand": "fine:sand", "red_sand": "fine:red_sand", "slime_block": "slime:slime", "honey_block": "slime:honey",
    "ice": "ice:ice", "frosted_ice": "ice:ice", "packed_ice": "ice:packed_ice", "blue_ice": "ice:blue_ice",
    "terracotta": "terracotta:terracotta", "spawner": "cage:cage", "ladder": "ladder:ladder", "iron_bars": "bars:bars",
    "vine": "blades:vine", "lily_pad": "lily:lily", "redstone_wire": "wire:wire", "fire": "fire:fire", "target": "target:target",
    "soul_fire": "fire:soul", "nether_portal": "portal:nether", "end_portal": "portal:end", "end_gateway": "portal:end",
    "scaffolding": "scaffold:scaffold", "dragon_egg": "dragon_egg:egg", "brick_wall": "bricks:bricks", "stone": "stone:stone",
    "infested_stone": "stone:stone", "ancient_debris": "ore:ancient_debris", "note_block": "machine:note", "jukebox": "barrel:top",
    "water": "water:water", "dried_kelp_block": "plain:green", "glass": "glass:glass", "glass_pane": "glass:glass",
    "gilded_blackstone": "ore:nether_gold", "honeycomb_block": "bricks:honey", "end_rod": "fine:bone", "turtle_egg": "fine:bone",
    "lantern": "lamp:glowstone", "soul_lantern": "lamp:sea_lantern", "cocoa": "plain:brown", "flower_pot": "terracotta:pot",
    "sea_pickle": "plain:green", "composter": "barrel:side", "lectern": "planks:oak", "bamboo": "blades:bamboo",
    "tripwire_hook": "planks:oak", "lever": "machine:lever", "mushroom_stem": "fine:bone", "shulker_box": "concrete:purple",
    "red_mushroom_block": "wool:red", "brown_mushroom_block": "fine:brown", "daylight_detector": "planks:oak",
    "chorus_plant": "plain:purple", "chorus_flower": "plain:purple", "beacon": "glass:cyan", "bone_block": "pillar:bone",
}  # fmt: skip


def faces(state: str) -> Faces:
    """Return the texture keys of a state's six faces."""
    name, given = split_state(state)
    props = {**default_properties(name), **given}
    if name.startswith("potted_"):
        return _all("terracotta:pot")
    if name in _EVEN:
        return _all(_EVEN[name]) if name != "tnt" else _ends("tnt:top", "tnt:side")
    return _special(name, props) or _all(_by_name(name))


def _all(key: str) -> Faces:
    return (key,) * 6


def _ends(end: str, side: str, axis: str = "y", bottom: str | None = None) -> Faces:
    keys = [side] * 6
    first = {"x": 0, "y": 2, "z": 4}[axis]
    keys[first], keys[first + 1] = bottom or end, end
    return tuple(keys)  # type: ignore[return-value]


def _facing(front: str, side: str, end: str, props: Mapping[str, str]) -> Faces:
    keys = [side, side, end, end, side, side]
    keys[_SIDE[props.get("facing", "north")]] = front
    return tuple(keys)  # type: ignore[return-value]


def _special(name: str, props: Mapping[str, str]) -> Faces | None:
    """Return the faces of blocks that look different from different sides."""
    if name in ("grass_block", "mycelium", "podzol", "grass_path", "crimson_nylium", "warped_nylium"):
        kind = {"grass_block": "grass", "grass_path": "path"}.get(name, name.split("_")[0])
        kind = "snow" if props.get("snowy") == "true" else kind
        top = "fine:snow" if kind == "snow" else "fine:path" if kind == "path" else f"grass_top:{kind}"
        return _ends(top, f"grass_side:{kind}", "y", "rough:netherrack" if "nylium" in name else "dirt:dirt")
    if name == "farmland":
        return _ends("farmland:soil", "dirt:dirt", "y", "dirt:dirt")
    if name.endswith(("_log", "_stem")) and any(wood in name for wood in WOODS):
        return _ends(f"rings:{name}", f"log:{name}", props.get("axis", "y"))
    if name.endswith(("_wood", "_hyphae")):
        return _all(f"log:{name}")
    if name in ("basalt", "polished_basalt", "quartz_pillar", "purpur_pillar", "bone_block"):
        return _ends(f"slabs:{name}", f"pillar:{name}", props.get("axis", "y"))
    if name in ("furnace", "blast_furnace", "smoker", "dispenser", "dropper", "observer", "bee_nest", "beehive"):
        lit = "lit_" if props.get("lit") == "true" else ""
        wooden = {"smoker": "log:spruce_log", "bee_nest": "pillar:honey", "beehive": "planks:oak"}
        side = wooden.get(name, "slabs:stone")
        return _facing(f"front:{lit}{name}", side, side, props)
    if name in ("pumpkin", "carved_pumpkin", "jack_o_lantern"):
        front = "pumpkin:pumpkin" if name == "pumpkin" else f"front:{name}"
        return _facing(front, "pumpkin:pumpkin", "pumpkin:pumpkin_top", props)
    if name == "melon":
        return _ends("pumpkin:melon_top", "pumpkin:melon")
    if name in ("chest", "trapped_chest", "ender_chest"):
        return _facing(f"chest:front/{name}", f"chest:side/{name}", f"chest:top/{name}", props)
    if name in ("crafting_table", "cartography_table", "fletching_table", "smithing_table"):
        return _ends(f"table:{name}/top", f"table:{name}/side", "y", "planks:oak")
    if name == "loom":
        return _facing("loom:front", "loom:side", "planks:oak", props)
    if name == "barrel":
        return _ends("barrel:top", "barrel:side")
    if name == "hay_block":
        return _ends("hay:top", "hay:side", props.get("axis", "y"))
    if name == "cactus":
        return _ends("plain:lime", "cactus:cactus")
    if name == "cake":
        return _ends("cake:top", "cake:side", "y", "plain:brown")
    if name == "enchanting_table":
        return _ends("enchant:top", "enchant:side", "y", "obsidian:obsidian")
    if name in ("piston", "sticky_piston", "piston_head"):
        keys = ["cobble:cobblestone"] * 6
        keys[_SIDE[props.get("facing", "north")]] = "piston:sticky" if name.startswith("sticky") else "piston:plain"
        return tuple(keys)  # type: ignore[return-value]
    if name.endswith("sandstone"):
        flat = name.startswith("smooth")
        carved = name.startswith("chiseled")
        side = f"fine:{name}" if flat else f"chiseled:{name}" if carved else f"sandstone:{name}"
        return _ends(f"fine:{name}", side)
    if name.endswith("_door"):
        return _all(f"door:{props.get('half', 'lower')}/{name}")
    if name.endswith("_bed"):
        side = f"bed:side/{props['part']}/{name}"
        return _ends(f"bed:top/{props['part']}/{name}", side, "y", "planks:oak")
    return None


def _by_name(name: str) -> str:
    """Return the texture of a block that is the same all round, by the parts of its name."""
    if name.endswith(("_ore",)):
        return f"ore:{name}"
    if name.endswith("_leaves"):
        return f"leaves:{name}"
    if name.endswith("_planks"):
        return f"planks:{name.removesuffix('_planks')}"
    if name.endswith("_sapling") and name != "bamboo_sapling":
        return f"sapling:{name}"
    if name in _FLOWER:
        return f"flower:{name}"
    if name in _CROP:
        return f"crop:{name}"
    if name in _MUSHROOM:
        return f"mushroom:{name}"
    if name in _BLADE:
        return f"blades:{name}"
    if "coral" in name:
        return f"coral:{name}"
    if "torch" in name:
        return f"torch:{'soul' if 'soul' in name else 'redstone' if 'redstone' in name else 'fire'}"
    for ending, pattern in (
        ("_wool", "wool"), ("_carpet", "wool"), ("_concrete", "concrete"), ("_concrete_powder", "concrete"),
        ("_glazed_terracotta", "glazed"), ("_terracotta", "terracotta"), ("_stained_glass", "glass"),
        ("_stained_glass_pane", "glass"), ("_banner", "banner"), ("_shulker_box", "concrete"), ("rail", "rail"),
        ("_head", "skull"), ("_skull", "skull"),
    ):  # fmt: skip
        if name.endswith(ending):
            return f"{pattern}:{name}"
    for ending in _MADE_OF:
        if name.endswith(ending):
            base = name.removesuffix(ending)
            for other in (_MATERIAL.get(base, base), f"{base}_planks", f"{base}s", f"{base}_block"):
                if other in BLOCKS and other != name:
                    return faces(other)[0]
    if "chiseled" in name:
        return f"chiseled:{name}"
    if "brick" in name:
        return f"bricks:{name.removeprefix('infested_')}"
    if name.startswith(("polished_", "smooth_", "cut_", "quartz")) or name in ("purpur_block", "lodestone"):
        return f"slabs:{name}"
    if name.endswith("_block") and any(word in name for word in ("iron", "gold", "diamond", "emerald", "lapis", "redstone",
                                                                 "coal", "netherite")):  # fmt: skip
        return f"metal:{name}"
    if "command" in name or name in ("structure_block", "jigsaw"):
        return f"command:{name}"
    if any(word in name for word in ("anvil", "cauldron", "hopper", "bell", "grindstone", "stonecutter", "chain", "conduit",
                                     "brewing", "respawn", "repeater", "comparator")):  # fmt: skip
        return f"machine:{name}"
    return f"{'stone' if name in ('granite', 'diorite', 'andesite', 'blackstone', 'prismarine', 'end_stone') else 'plain'}:{name}"


def is_crossed(name: str) -> bool:
    """Return whether a block is drawn as two quads through its middle."""
    return (
        name in _CROP or name in _FLOWER or name in _BLADE or name in _MUSHROOM or name in ("cobweb", "fire", "soul_fire")
        or name.endswith("_sapling") or ("coral" in name and "block" not in name)
    )  # fmt: skip


@functools.cache
def shape(state_id: int) -> tuple[int, tuple[Box, ...], Faces]:
    """Return (kind, boxes, texture keys) of a state id; what is drawn lies inside what a ray is stopped by."""
    name, _ = split_state(STATES[state_id])
    outlines = OUTLINES[state_id]
    if name in _UNSEEN:
        return NOTHING, (), _all("plain:none")
    keys = faces(STATES[state_id])
    if name in ("water", "lava"):
        return FLUID, (), keys
    if is_crossed(name):
        return CROSSED, outlines or CUBE, keys
    if outlines == CUBE or not outlines:
        return SOLID, (), keys
    return PARTS, _thin(name, outlines, split_state(STATES[state_id])[1]), keys


def _thin(name: str, outlines: tuple[Box, ...], given: Mapping[str, str]) -> tuple[Box, ...]:
    """Return slimmer boxes for what is aimed at more easily than it is drawn."""
    if "torch" in name:
        return ((0.4375, 0.0, 0.4375, 0.5625, 0.6, 0.5625),)
    if name in ("redstone_wire", "end_portal") or name.endswith("rail"):
        return ((outlines[0][0], 0.0, outlines[0][2], outlines[0][3], 0.0625, outlines[0][5]),)
    if name.endswith(("_sign", "_banner")):
        return ((0.4375, 0.0, 0.4375, 0.5625, 0.5, 0.5625), (0.1, 0.4, 0.4375, 0.9, 0.8, 0.5625))
    if name.endswith("_button") or name == "lever":
        return ((0.3125, 0.0, 0.375, 0.6875, 0.125, 0.625),)
    if name in ("vine", "nether_portal"):
        x0, y0, z0, x1, y1, z1 = outlines[0]
        props = {**default_properties(name), **given}
        if name == "nether_portal":
            return ((x0, y0, 0.375, x1, y1, 0.625) if props.get("axis") == "x" else (0.375, y0, z0, 0.625, y1, z1),)
        sides = {"north": (x0, y0, z0, x1, y1, z0 + 0.05), "south": (x0, y0, z1 - 0.05, x1, y1, z1),
                 "west": (x0, y0, z0, x0 + 0.05, y1, z1), "east": (x1 - 0.05, y0, z0, x1, y1, z1)}  # fmt: skip
        return tuple(box for side, box in sides.items() if props.get(side) == "true") or (
            (x0, y1 - 0.05, z0, x1, y1, z1),
        )
    return outlines


_GLOW = {
    "lava": 15, "fire": 15, "soul_fire": 10, "glowstone": 15, "sea_lantern": 15, "shroomlight": 15, "jack_o_lantern": 15,
    "torch": 14, "wall_torch": 14, "soul_torch": 10, "soul_wall_torch": 10, "redstone_torch": 7, "redstone_wall_torch": 7,
    "lantern": 15, "soul_lantern": 10, "end_rod": 14, "beacon": 15, "campfire": 15, "soul_campfire": 10, "nether_portal": 11,
    "end_portal": 15, "end_gateway": 15, "conduit": 15, "magma_block": 3, "crying_obsidian": 10, "ender_chest": 7,
    "brown_mushroom": 1, "dragon_egg": 1, "brewing_stand": 1, "sea_pickle": 6,
}  # fmt: skip


def glow(state_id: int) -> int:
    """Return the block light a state gives, 0…15."""
    name, given = split_state(STATES[state_id])
    if given.get("lit") == "true":
        return {"redstone_lamp": 15, "redstone_ore": 9}.get(name, 13)
    return _GLOW.get(name, 0)
