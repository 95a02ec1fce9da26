"""Item icons, 16×16: a block as a small cube seen from a corner, anything else as a drawing of a few strokes.

A drawing is a list of layers ``tone strokes``; a stroke is ``L x0 y0 x1 y1 width`` (line), ``D x y radius`` (disc),
``R x0 y0 x1 y1`` (rectangle, ends included) or ``P x y x y …`` (polygon). Tones are ``a``, ``b``, ``c`` of the item, or a
colour as six hexadecimal digits; ``-`` erases. Edges are darkened and the upper left lightened afterwards.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from crossagent_craftworld.render import blockart, paint, shapes
from crossagent_craftworld.render.paint import DYES, METALS, SIZE, WOODS, Colour, Picture, named, noise
from crossagent_minecraft_data.blocks import BLOCKS, default_properties

_Y, _X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)

DRAWINGS: dict[str, str] = {
    "sword": "a L 5 10 13 2 2.6; b L 1.6 13.6 4 11.4 1.8; b L 2.6 8.6 6.6 12.6 1.8; c L 6 9 12.6 2.4 0.8",
    "pickaxe": "b L 2 13.5 10.5 5 1.7; a L 4.5 2.6 9 2.6 2; a L 9 2.6 12.4 6 2.8; a L 12.8 6 12.8 11 2",
    "axe": "b L 2.5 13.5 10.5 4.5 1.7; a P 6 2 10 1 13.6 4.6 12 8.4 9.6 6.6 6.4 6.6",
    "shovel": "b L 2 13.5 9.5 6 1.7; a P 8 5 10 2 13.4 1.6 13.6 5 11 7.6 9 7",
    "hoe": "b L 2.5 13.5 10 5 1.7; a L 6 2.6 11.4 2.6 2.2; a L 11.6 3 12.6 5.6 2.2",
    "shears": "a L 3 13 12 4 2; a L 3 4 12 13 2; - D 3.4 12.4 0.9; - D 12 12.4 0.9; b L 2 12 4 14 1.4; b L 11 12 13.4 14 1.4",
    "bow": "b L 3 13 5 5 1.5; b L 5 5 13 2.6 1.5; c L 3.4 13 13 3 0.7; b L 4 6 6 4 2",
    "crossbow": "b L 3 13 11 5 2; b L 4 4 12 12 1.6; c L 4.6 4.6 11 5 0.7; c L 11 5 11.6 11.4 0.7; a L 9 3 13 7 1.4",
    "arrow": "b L 3 12.6 11 4.6 1; a P 9.6 3 13.4 2.4 12.8 6.2; c L 2 12 5 12.4 1; c L 3.4 10.4 4 14 1",
    "rod": "b L 3 13.5 12 3 1.5; c L 12 3.4 12.4 11 0.7; c L 12.4 11 11 12 0.7",
    "stick": "b L 3.5 12.5 12 4 1.9",
    "rod_hot": "a L 3.5 12.5 12 4 2.4; c L 5 11 11.6 4.4 0.8",
    "trident": "a L 3 13 11 5 1.3; a L 8 3 11.4 3.4 1.2; a L 12.6 4.6 13 8 1.2; a L 11 5 13.6 2.4 1.2; a L 8 3.4 12.6 8 1.3",
    "shield": "b P 3 2 12 2 12 9 7.5 14 3 9; a R 7 2 8 12; a R 3 6 12 7",
    "helmet": "a P 2.6 4 5 2.6 10.4 2.6 12.8 4 12.8 11 10 11 10 7 5.4 7 5.4 11 2.6 11",
    "chestplate": "a P 1.6 3 5 2.4 7.5 4.6 10 2.4 13.8 3 13.8 7 11.4 7.4 11.4 13.4 4 13.4 4 7.4 1.6 7",
    "leggings": "a P 3 2.4 12.4 2.4 12.8 13.6 9 13.6 8 6 7.4 6 6.4 13.6 2.6 13.6",
    "boots": "a P 2.6 4 6 4 6 12.6 1 12.6 1.4 10.4 2.6 10; a P 9.4 4 12.8 4 12.8 10 14 10.4 14.4 12.6 9.4 12.6",
    "ingot": "a P 1.4 10.4 5 5.6 14 5.6 14.4 8.6 11 12.8 1.6 12.4; c L 5.4 6.4 13 6.4 1.2",
    "nugget": "a P 5 9 7 6.4 10.4 6.6 11 9.4 8.6 11.4 5.6 11; c D 7.6 8 0.9",
    "gem": "a P 7.5 1.6 12.6 5.6 12 10.6 7.5 14 3 10.6 2.4 5.6; c P 7.5 2.6 10 6 7.5 8.4 5 6; c L 4 6.4 6 11 0.8",
    "lump": "a P 3 9.6 5 4.6 10.4 3.4 13 7.4 12 11.8 7.4 13.2; c L 5.6 6 8.6 5 1.1; c L 9.6 9.6 11 9 1",
    "dust": "a P 2 12.4 5 9 7 6.6 9.4 8.4 11.4 9.6 13.8 12.4; c L 6 9.6 7.4 8 0.9; c L 9 11 11 11 0.9; a L 4 6 5 6 0.9; a L 11 6 12 6 0.9",
    "ball": "a D 7.5 8 4.8; c D 6 6.2 1.5",
    "pearl": "a D 7.5 8 5.2; b D 7.5 8 2.6; c D 6 5.8 1.1",
    "egg": "a P 7.5 2 10.6 5 12 9.4 10.4 12.8 7.5 13.8 4.6 12.8 3 9.4 4.4 5; c D 6 6.4 1",
    "spawn_egg": "a P 7.5 2 10.6 5 12 9.4 10.4 12.8 7.5 13.8 4.6 12.8 3 9.4 4.4 5; b D 6 6 1.2; b D 10 8 1.3; b D 5.4 10 1.2; b D 8.6 12 0.9",
    "bucket": "a P 2.4 5 13 5 11 13.6 4.4 13.6; 5a5a5a P 3.4 5 12 5 11.4 7 4 7; c P 3.8 4.6 11.6 4.6 11 6.8 4.4 6.8; a L 3 5 4 2 0.8; a L 12.4 5 11.4 2 0.8; a L 4 2 11.4 2 0.8",
    "bottle": "dce8ec P 6 2 9.4 2 9.4 6 12.4 9.6 11.4 13.6 4 13.6 3 9.6 6 6; a P 4.4 9 11 9 10.6 12.6 4.8 12.6; b R 6 1 9 2",
    "bowl": "b P 1.6 7 13.8 7 11.6 12.6 4 12.6; a P 2.8 6.4 12.6 6.4 11.6 8 3.8 8",
    "bread": "a P 1.6 11 4 7.4 10 4 13.8 5.6 13 8.4 8 12.6 3 13; c L 4.6 8.4 6.4 10 0.9; c L 7.4 6.8 9 8.4 0.9; c L 10 5.4 11.4 6.8 0.9",
    "apple": "a P 4 5 7 5.8 11 4.6 13 7.6 11.6 12 8.4 13.6 7 13 4.6 13.4 2.6 9.6 2.4 7; 5a3c1e L 7.6 5 8.4 2.4 1; 4a8c2a L 9 3.6 11 2.6 1.2; c D 5 8 1.1",
    "root": "a P 3 13.6 4 9 8.4 5 11.4 7 8.6 11.4; b L 9.6 6 12 2.4 1.1; b L 10.4 6.4 13.6 4.4 1.1",
    "potato": "a P 3 9 5 5 10 3.6 13 6.6 12 10.8 7 13.2 4 12; c D 6 7.4 0.7; c D 9.6 9 0.7; c D 10 6 0.6",
    "beet": "a D 6.8 9.6 4; b L 8.4 6 10 2 1.2; b L 9.4 6.6 13 4 1.2; c D 5.4 8.4 0.9",
    "meat": "a P 2 8.4 4.4 4.4 9.4 3 13 5.4 13.4 9 9.6 12.8 4.4 13; c L 4.8 7 8.6 5 1.4; e8ded0 D 12 11.6 1.7",
    "leg": "a D 9 6.6 4.6; e8e0d2 L 5.6 10 3 12.6 1.5; e8e0d2 D 2.6 13 1.3; c D 8 5 1.3",
    "fish": "a P 2 8 5 4.8 10 4.8 12 7.4 14.4 5 14 11 12 9 9.6 11.6 5 11.4; 202020 D 4.6 7.4 0.7; c L 6 9.6 10 9 0.8",
    "cookie": "a D 7.5 8 5.2; 50301a D 5.6 6.4 0.9; 50301a D 9.6 7 0.9; 50301a D 7 10.4 0.9; 50301a D 10.4 10.4 0.7",
    "slice": "a P 2 5 13.6 5 11.6 10 7.6 12.4 4 10; 4a8c2a L 2 5 4 10 1; 4a8c2a L 4 10 7.6 12.4 1; 4a8c2a L 7.6 12.4 13 6 1; 281008 D 6.6 7.4 0.5; 281008 D 9.6 7.4 0.5",
    "pie": "a P 1.6 7 7.4 4 13.8 7 12.4 11.6 3 11.6; c P 2.8 7 7.4 5 12.6 7 7.5 9",
    "berries": "a D 5 9.6 2.6; a D 10 8.6 2.6; a D 8 12 2.2; 4a8c2a L 6 6 9 2.6 1.2; c D 4.4 8.8 0.7; c D 9.4 7.8 0.7",
    "seeds": "a D 5 6 1.5; a D 9.6 4.6 1.5; a D 11 9 1.5; a D 6.4 10.4 1.5; a D 10 12.6 1.4; c D 4.6 5.6 0.5",
    "beans": "a L 4 6 6 9 2.2; a L 9 4 10 7 2.2; a L 8 10 11 12 2.2",
    "grain": "a L 3 13 9 7 1; a L 6 13 12 5 1; a D 9 5 1.5; a D 11.6 3.6 1.5; a D 12.6 6 1.3; c D 8 7 1",
    "book": "a P 2.4 4 10 2 13.6 4 13.6 11.6 6 14 2.4 12; f0e8d4 P 6 12.6 13 10.4 13 11.6 6 13.6; c L 3.6 5 10 3.2 0.8",
    "paper": "a P 3 2.4 12.4 2.4 12.4 13.4 3 13.4; c L 5 5 10.4 5 0.7; c L 5 7.6 10.4 7.6 0.7; c L 5 10.2 8.4 10.2 0.7",
    "map": "e0d4ac P 2 3 13.4 2.4 13.4 12.6 2 13.2; 6a9a50 P 4 5 7 4.6 8 8 5 10; 6088c8 P 8 8 12 7 12 11 9 11.4; b04030 D 9.6 5.6 0.7",
    "string": "a L 3 5 8 3.4 0.9; a L 8 3.4 12 6 0.9; a L 12 6 5 9 0.9; a L 5 9 4.6 12 0.9; a L 4.6 12 11.6 12.6 0.9",
    "feather": "a P 12.6 2 13 5 9 10 5 11.6 6 7.4; b L 2.4 13.6 11.6 3.6 0.8",
    "hide": "a P 2.4 3 6 4.4 9.6 4.4 13 3 12 8 13.4 13 9.4 11.6 5.6 11.6 2 13.2 3.4 8",
    "bone": "a L 4.4 11.4 10.8 5 1.9; a D 3.6 10.6 1.6; a D 5 12.4 1.6; a D 10.4 3.8 1.6; a D 12 5.4 1.6",
    "disc": "202226 D 7.5 8 6; 101014 D 7.5 8 4.6; a D 7.5 8 2.2; ffffff D 7.5 8 0.6",
    "compass": "a D 7.5 8 5.8; 3a3a3e D 7.5 8 4; b L 7.5 8 9.6 5 1; e8e8e8 L 7.5 8 5.6 11 1",
    "boat": "b P 1 6.6 14.6 6.6 12.6 11.6 3 11.6; a P 2.4 6 13.4 6 12.4 8 3.6 8; a L 4 3 2 12 0.8",
    "cart": "b P 1.6 5 14 5 12.6 11 3 11; a P 3 4.4 12.6 4.4 12 6.6 3.6 6.6; 404044 D 5 12.2 1.5; 404044 D 10.8 12.2 1.5",
    "saddle": "a P 2 6 6 4 11 6 13.6 4.4 13 9.6 10 11 5.6 10.4 2.6 9; c L 5 10 5 13.6 0.9; c L 10 10.6 10 13.6 0.9",
    "horse_armor": "a P 2 4 6 6 9 6 12.4 2.4 14 5 13 9 10.4 12.6 4 12.6 2.4 9; c L 4 6.4 9 7.4 0.9",
    "shell": "a P 7.5 2.4 12.6 5 13 10 10 13 5 13 2 10 2.4 5; c L 7.5 3.4 7.5 12 0.8; c L 5 4.4 4.4 11 0.8; c L 10 4.4 10.8 11 0.8",
    "star": "a P 7.5 1.4 9.2 6 14 7.6 9.2 9.4 7.5 14.2 5.8 9.4 1 7.6 5.8 6; c D 7.5 7.7 1.4",
    "totem": "a P 5 2.4 10 2.4 10.6 6 13.6 6.6 13 9 10.4 9 9.4 13.6 5.6 13.6 4.6 9 2 9 1.4 6.6 4.6 6; 2a6a3a D 6.2 5 0.8; 2a6a3a D 9 5 0.8",
    "elytra": "a P 7 2.4 3 4 1.6 13.4 6 11 7 8; a P 8 2.4 12 4 13.6 13.4 9 11 8 8; c L 5 5 3.4 11 0.8",
    "rocket": "a R 6 5 9 12; e8e8e8 P 5.4 5 7.5 1.4 9.8 5; c L 7.5 12 7.5 15 1; a D 7.5 8 1",
    "lead": "a L 4 4 9 3 1.2; a L 9 3 12 7 1.2; a L 12 7 6 9 1.2; a L 6 9 4 12.6 1.2; b D 4 13 1.3",
    "tag": "a P 2 9 8.6 2.4 13.4 3 13.4 7.4 6.8 14; - D 11 5.2 1",
    "frame": "b R 2 2 13 13; a R 4 4 11 11",
    "stand": "b L 7.5 2 7.5 12.6 1.3; b L 4 5 11 5 1.2; b L 5 9 10 9 1.1; 9a9a9a R 3 12 12 13",
    "flint_steel": "b L 3 5 7 3 1.6; b L 3 5 3.4 9 1.6; b L 3.4 9 7 9 1.6; a P 8 8 11.4 6.6 13 10 10 13 7.6 11",
    "crystal": "a P 7.5 1.6 12.4 6.6 7.5 11.6 2.6 6.6; c D 7.5 6.6 1.8; 6a6a70 R 4 12 11 14",
    "pattern": "a P 3 2.4 12.4 2.4 12.4 13.4 3 13.4; c D 7.5 7 2.6; c R 6 9 9 10",
    "wart": "a D 5 9 1.7; a D 8 6 1.7; a D 10.6 9.6 1.7; a D 7.4 11.4 1.7; c D 8 5.6 0.6",
    "door": "a R 4 1 11 14; b R 5 3 7 6; b R 8 3 10 6; c R 9 9 10 10",
    "sign": "a R 2 3 13 9; b R 7 9 8 14; c L 4 5 11 5 0.7; c L 4 7 11 7 0.7",
    "bed": "b P 1 10 10 6 14.6 8 14.6 11 6 14.6 1 12.4; a P 4.4 8.8 10 6.2 14 8 8.4 11; f0f0f0 P 1.4 10 4.4 8.6 8 10.6 5 12",
    "banner": "8a6a3c L 7.5 1 7.5 15 1; a R 4 2 11 11",
    "cauldron": "a P 2 3 13.4 3 12.6 12.6 2.8 12.6; 26262a R 4 3 11 5; a L 3 12 3 14.4 1.2; a L 12.4 12 12.4 14.4 1.2",
    "lantern": "5a606c R 6 2 9 3; 5a606c P 4.6 5 10.6 5 11.4 13 4 13; a R 5 7 10 11",
    "skull": "a R 3 3 12 12; 202020 R 4 7 6 9; 202020 R 9 7 11 9; 404040 R 6 11 9 11",
    "torch": "8c6840 L 7.5 6 7.5 14.4 2; a R 6 3 9 5; fff6d0 R 7 3 8 4",
    "campfire": "5a4024 L 2 13 13 10 2; 5a4024 L 2 10 13 13 2; a P 4 10 6 4 8 7 10 3 12 10",
    "chain": "a L 7.5 1 7.5 15 1.2; a L 5.5 4 9.5 4 1; a L 5.5 8 9.5 8 1; a L 5.5 12 9.5 12 1",
    "bell": "a P 5 5 10 5 11 11 13 13 2 13 4 11; b R 4 2 11 3; b R 7 3 8 5; c L 6 6 5.4 11 0.9",
    "string_wire": "b R 2 11 13 12; a R 6 6 9 10",
    "bag": "a P 4 5 11 5 13 12 10 14 5 14 2 12; b L 5 5 10 5 1.4; c D 6 9 1",
}  # fmt: skip

_STICK: Colour = (126, 92, 48)
_ARMOUR: dict[str, Colour] = {
    "leather": (150, 92, 56), "chainmail": (136, 138, 142), "turtle": (72, 150, 74), "wooden": (150, 116, 66),
    "stone": (138, 138, 138), "golden": (248, 212, 70), "iron": (222, 222, 222), "diamond": (92, 226, 216),
    "netherite": (76, 68, 72),
}  # fmt: skip
# Items by name: drawing, then tones a, b, c as hexadecimal digits; a missing tone is made from a.
_ITEMS: dict[str, str] = {
    "apple": "apple d8302a", "golden_apple": "apple f4c83a", "enchanted_golden_apple": "apple f0d060", "stick": "stick",
    "bow": "bow 8a8a8a 7c5a32 e8e8e8", "crossbow": "crossbow 9a9a9a 7c5a32 e8e8e8", "arrow": "arrow d8d8d8 8a6a3c f0f0f0",
    "spectral_arrow": "arrow f0d040 8a6a3c f0f0f0", "tipped_arrow": "arrow 60b0d0 8a6a3c f0f0f0", "fishing_rod": "rod 8a6a3c",
    "carrot_on_a_stick": "rod e88a28 8a6a3c e88a28", "warped_fungus_on_a_stick": "rod 20a090 8a6a3c 20a090",
    "shears": "shears d8d8d8 8a8a8a", "flint_and_steel": "flint_steel 3c3c3c c8c8c8", "trident": "trident 3a8a84",
    "shield": "shield c0c0c0 8a6236", "flint": "lump 3c3c40", "coal": "lump 2c2c2e", "charcoal": "lump 48382c",
    "clay_ball": "ball a0a6b4", "slime_ball": "ball 7cc86a", "magma_cream": "ball d88a30", "snowball": "ball f4fafc",
    "fire_charge": "ball d86020", "ender_pearl": "pearl 1a6a5c 0c3c34", "ender_eye": "pearl 7cc060 1e4a30", "egg": "egg e0cc9c",
    "redstone": "dust b01208", "gunpowder": "dust 6c6c6c", "glowstone_dust": "dust e8c860", "sugar": "dust f4f4f8",
    "blaze_powder": "dust f0a020", "bone_meal": "dust e8e8e0", "lapis_lazuli": "gem 2a56c0", "diamond": "gem 5ce4dc",
    "emerald": "gem 24c85c", "quartz": "gem e8e0d8", "prismarine_crystals": "gem a8d8c8", "prismarine_shard": "lump 68a898",
    "ghast_tear": "gem d8e4e4", "netherite_scrap": "lump 64483c", "brick": "ingot 9c5a44", "nether_brick": "ingot 4a2428",
    "bowl": "bowl 6a4824 8a6236", "mushroom_stew": "bowl c08050 8a6236", "rabbit_stew": "bowl c87838 8a6236",
    "beetroot_soup": "bowl a02838 8a6236", "suspicious_stew": "bowl 8a9a40 8a6236", "bread": "bread b8823c",
    "carrot": "root ec8a24 4c9830", "golden_carrot": "root f4cc3a 4c9830", "potato": "potato cca454",
    "baked_potato": "potato b87e38", "poisonous_potato": "potato a4b44c", "beetroot": "beet 9c2836 5c9438",
    "beef": "meat c83c38", "cooked_beef": "meat 7c4a2c", "porkchop": "meat e8908c", "cooked_porkchop": "meat b8804c",
    "mutton": "meat d04c44", "cooked_mutton": "meat 8c5a38", "rabbit": "meat e0a890", "cooked_rabbit": "meat b08050",
    "chicken": "leg ecc8b4", "cooked_chicken": "leg b8763c", "rabbit_foot": "leg c8a070", "rotten_flesh": "meat 94542e",
    "cod": "fish b49a78", "cooked_cod": "fish d0b488", "salmon": "fish b04840", "cooked_salmon": "fish d47a44",
    "tropical_fish": "fish e8842c", "pufferfish": "fish e8cc3c", "cookie": "cookie c8843c", "melon_slice": "slice d83c30",
    "glistering_melon_slice": "slice f0b83a", "pumpkin_pie": "pie c87a34 c87a34 e8a44c", "sweet_berries": "berries c02434",
    "dried_kelp": "paper 3c5434", "honey_bottle": "bottle f0a82c", "chorus_fruit": "ball 9a6a9a", "popped_chorus_fruit": "ball a884a8",
    "wheat_seeds": "seeds 6ca83c", "melon_seeds": "seeds 4a3a2a", "pumpkin_seeds": "seeds e4dcb4", "beetroot_seeds": "seeds b89858",
    "cocoa_beans": "beans 7c4a24", "wheat": "grain d8b848", "sugar_cane": "grain 98c470", "bamboo": "grain 68903a",
    "kelp": "grain 4c7c3a", "nether_wart": "wart 9c1c24", "book": "book 8a4c2c", "enchanted_book": "book 9a3c8c",
    "knowledge_book": "book 3c8a4c", "writable_book": "book 7a3c24", "written_book": "book a04c34", "paper": "paper f0f0e8",
    "map": "map e0d4ac", "filled_map": "map e0d4ac", "string": "string e8e8e8", "feather": "feather f0f0f0 b8b8b8",
    "leather": "hide b06a3c", "rabbit_hide": "hide c89a6a", "phantom_membrane": "hide c8c0a8", "bone": "bone e8e4d4",
    "compass": "compass c8c8c8 d83028", "clock": "compass f0c83c 2c4cb0", "minecart": "cart 8a8a8e 6c6c70",
    "saddle": "saddle a06030", "nautilus_shell": "shell d8c8b8", "shulker_shell": "shell 9a6a9a", "scute": "shell 4c9a44",
    "heart_of_the_sea": "pearl 2c8ac8 1a5a9a", "nether_star": "star f0f0e0", "totem_of_undying": "totem f0c83c",
    "elytra": "elytra 8c8ca0", "firework_rocket": "rocket d83028", "firework_star": "ball 4a4a4e", "lead": "lead c8a468",
    "name_tag": "tag d8c8a0", "item_frame": "frame d8b484 8a6236", "painting": "frame 6ca0c8 8a6236", "armor_stand": "stand",
    "end_crystal": "crystal d888d0", "experience_bottle": "bottle a8e05c", "glass_bottle": "bottle dce8ec", "potion": "bottle 3858c8",
    "splash_potion": "bottle 4878d8", "lingering_potion": "bottle 8868b8", "dragon_breath": "bottle d888c8",
    "fermented_spider_eye": "pearl 7c3c4c 4c1c2c", "spider_eye": "pearl a02c34 501018", "ink_sac": "bag 2c2c34",
    "honeycomb": "ingot e8a030", "debug_stick": "stick", "bucket": "bucket c8c8c8 c8c8c8 8a8a8a", "water_bucket": "bucket c8c8c8 c8c8c8 3c64d8",
    "lava_bucket": "bucket c8c8c8 c8c8c8 e87a1c", "milk_bucket": "bucket c8c8c8 c8c8c8 f4f4f4", "blaze_rod": "rod_hot f0a820",
    "end_rod": "rod_hot f0e8e0", "cauldron": "cauldron 4a4a4c", "lantern": "lantern f8d878", "soul_lantern": "lantern 78dce4",
    "torch": "torch ffd65c", "soul_torch": "torch 5adce6", "redstone_torch": "torch e62814", "campfire": "campfire f09a28",
    "soul_campfire": "campfire 58d8e0", "chain": "chain 4a5264", "bell": "bell ecc43e 8a6236", "lever": "stick",
    "tripwire_hook": "string_wire 8a8a8a 8a6236", "repeater": "string_wire b01208 9a9a9a", "comparator": "string_wire d83020 9a9a9a",
    "hopper": "bucket 5a5a5e 5a5a5e 3a3a3c", "brewing_stand": "string_wire e8c860 7a7a7a", "flower_pot": "bowl 7a4630 9c5a44",
    "cake": "pie f0ece4 f0ece4 f0ece4", "turtle_egg": "egg e4e0c8", "sea_pickle": "beans 6c8a30", "lily_pad": "ball 2c8a34",
    "golden_horse_armor": "horse_armor f4c83a", "iron_horse_armor": "horse_armor d8d8d8", "leather_horse_armor": "horse_armor 965c38",
    "diamond_horse_armor": "horse_armor 5ce4dc",
}  # fmt: skip


@cache
def icon(item: str) -> NDArray[np.uint8]:
    """Return an item's icon [16, 16, 4]."""
    drawing = _drawing(item)
    if drawing is not None:
        return paint.done(_draw(*drawing))
    if item in BLOCKS:
        keys = item_faces(item)
        if flat_block(item):
            return blockart.texture(keys[0])
        return paint.done(_cube(item, keys))
    tone: Colour = (120 + 100 * noise(item)[0, 0], 120 + 100 * noise(item)[0, 1], 120 + 100 * noise(item)[0, 2])
    return paint.done(_draw("bag", tone, _darker(tone), _lighter(tone)))


def item_faces(item: str) -> shapes.Faces:
    """Return the textures of a block as an item, its front turned to whoever looks at it."""
    facing = "up" if item.endswith("piston") else "south"
    return shapes.faces(f"{item}[facing={facing}]" if "facing" in default_properties(item) else item)


def flat_block(name: str) -> bool:
    """Return whether a block is shown as its texture, not as a cube."""
    flat = ("vine", "ladder", "rail", "glass_pane", "bars", "redstone_wire", "fire", "soul_fire")
    return shapes.is_crossed(name) or name.endswith(flat)


def is_cube(item: str) -> bool:
    """Return whether an item is held and dropped as a small block."""
    return item in BLOCKS and _drawing(item) is None and not flat_block(item)


def _hex(text: str) -> Colour:
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


def _darker(tone: Colour) -> Colour:
    return tone[0] * 0.62, tone[1] * 0.62, tone[2] * 0.62


def _lighter(tone: Colour) -> Colour:
    return tuple(min(255.0, c * 1.3 + 24) for c in tone)  # type: ignore[return-value]


def _drawing(item: str) -> tuple[str, Colour, Colour, Colour] | None:
    """Return (drawing, tones a, b, c) of an item, or None when it is shown as a block."""
    head, _, last = item.rpartition("_")
    if item in _ITEMS:
        words = _ITEMS[item].split()
        tones = [_hex(word) for word in words[1:]]
        a = tones[0] if tones else _STICK
        return words[0], a, tones[1] if len(tones) > 1 else _STICK, tones[2] if len(tones) > 2 else _lighter(a)
    if last in ("sword", "pickaxe", "axe", "shovel", "hoe", "helmet", "chestplate", "leggings", "boots"):
        tone = _ARMOUR[head]
        return last, tone, _STICK, _lighter(tone)
    wood = max((w for w in WOODS if item.startswith(w)), key=len, default=None)
    plank = WOODS[wood][0] if wood else (200, 200, 200)
    if last in ("boat", "sign", "door"):
        return last, plank, _darker(plank), _darker(_darker(plank))
    if last in ("ingot", "nugget"):
        tone = named(item, METALS) or (200, 200, 200)
        return last, tone, _STICK, _lighter(tone)
    if last in ("bed", "banner"):
        return last, named(item, DYES) or (200, 200, 200), (150, 112, 66), (240, 240, 240)
    if last in ("head", "skull"):
        red, green, blue = (float(c) for c in blockart.texture(f"skull:{item}")[0, 8, :3])
        tone = (red, green, blue)
        return "skull", tone, _darker(tone), _lighter(tone)
    if last == "dye":
        tone = DYES[head]
        return "dust", tone, _darker(tone), _lighter(tone)
    if item.endswith("spawn_egg"):
        spots = noise(item)[0]
        a: Colour = (60 + 190 * spots[0], 60 + 190 * spots[1], 60 + 190 * spots[2])  # type: ignore[no-redef]
        return "spawn_egg", a, (40 + 200 * spots[3], 40 + 200 * spots[4], 40 + 200 * spots[5]), _lighter(a)
    if item.startswith("music_disc"):
        spots = noise(item)[0]
        return "disc", (60 + 190 * spots[0], 60 + 190 * spots[1], 60 + 190 * spots[2]), _STICK, (255, 255, 255)
    if last == "minecart":
        load = {"chest": (164, 132, 80), "furnace": (90, 90, 90), "tnt": (208, 56, 40), "hopper": (60, 60, 64)}
        return "cart", load.get(head, (150, 120, 100)), (108, 108, 112), (200, 200, 200)
    if last == "bucket":
        fish = {"cod": (180, 154, 120), "salmon": (176, 72, 64), "pufferfish": (232, 204, 60)}
        return "bucket", (200, 200, 200), (200, 200, 200), fish.get(head, (232, 132, 44))
    if last == "pattern":
        return "pattern", (232, 228, 216), _STICK, (80, 80, 96)
    return None


def _draw(drawing: str, a: Colour, b: Colour, c: Colour) -> Picture:
    out = paint.clear()
    tones = {"a": a, "b": b, "c": c}
    for layer in DRAWINGS[drawing].split(";"):
        tone, kind, *numbers = layer.split()
        mask = _mask(kind, [float(n) for n in numbers])
        if tone == "-":
            out[mask] = 0
        else:
            out[mask, :3] = tones.get(tone) or _hex(tone)
            out[mask, 3] = 255
    filled = np.pad(out[..., 3] > 0, 1)
    below, right = ~filled[2:, 1:-1], ~filled[1:-1, 2:]
    above, left = ~filled[:-2, 1:-1], ~filled[1:-1, :-2]
    out[..., :3] *= np.where(below | right, 0.6, np.where(above | left, 0.84, 1.0))[..., None]
    out[..., :3] *= (1.06 - 0.012 * (_X + _Y - 15))[..., None]
    return out


def _mask(kind: str, n: list[float]) -> NDArray[np.bool_]:
    if kind == "D":
        return np.asarray(np.hypot(_X - n[0], _Y - n[1]) <= n[2])
    if kind == "R":
        return np.asarray((n[0] <= _X) & (n[2] >= _X) & (n[1] <= _Y) & (n[3] >= _Y))
    if kind == "L":
        dx, dy = n[2] - n[0], n[3] - n[1]
        along = np.clip(((_X - n[0]) * dx + (_Y - n[1]) * dy) / (dx * dx + dy * dy), 0, 1)
        return np.asarray(np.hypot(_X - n[0] - along * dx, _Y - n[1] - along * dy) <= max(n[4] / 2, 0.5))
    points = list(zip(n[::2], n[1::2], strict=True))
    inside = np.zeros((SIZE, SIZE), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 != y1:
            crosses = ((y0 > _Y) != (y1 > _Y)) & ((x1 - x0) * (_Y - y0) / (y1 - y0) + x0 > _X)
            inside ^= crosses
    return inside


def _cube(item: str, keys: shapes.Faces) -> Picture:
    """A block seen from a corner: its boxes from far to near, top, left and right faces of each."""
    from crossagent_craftworld.palette import outline_boxes  # imported late: this module serves items first

    top, left, right = (blockart.texture(keys[side]) for side in (3, 5, 1))
    if item.endswith(("_stairs",)):
        parts = [(0.0, 0.0, 0.0, 1.0, 0.5, 1.0), (0.0, 0.5, 0.0, 1.0, 1.0, 0.5)]
    elif item.endswith("_fence"):
        parts = [(0.1, 0.0, 0.4, 0.3, 1.0, 0.6), (0.3, 0.35, 0.45, 0.7, 0.9, 0.55), (0.7, 0.0, 0.4, 0.9, 1.0, 0.6)]
    elif item.endswith("_wall"):
        parts = [(0.0, 0.0, 0.35, 1.0, 0.8, 0.65), (0.3, 0.0, 0.25, 0.7, 1.0, 0.75)]
    else:
        parts = list(outline_boxes(item))[:6] or [(0.0, 0.0, 0.0, 1.0, 1.0, 1.0)]
    out, depth = paint.clear(), np.full((SIZE, SIZE), -9.0)
    # A pixel's ray in the block: the view comes from +x, +y, +z; u runs right along (x − z), v down.
    for x0, y0, z0, x1, y1, z1 in parts:
        for texture, light, axis in ((top, 1.0, 1), (left, 0.78, 2), (right, 0.58, 0)):
            fixed = (x1, y1, z1)[axis]
            u, v = (_X - 7.5) / 7.3, (_Y - 7.5) / 7.6
            # screen: u = x − z, v = (1 − y) + (x + z) / 2 − 1, for the unit cube
            if axis == 1:
                total = 2 * (v + fixed)
                x, z = (total + u) / 2, (total - u) / 2
                y = np.full_like(x, fixed)
                s, t = x, z
            elif axis == 2:
                z = np.full_like(u, fixed)
                x = u + z
                y = (x + z) / 2 - v
                s, t = x, 1 - y
            else:
                x = np.full_like(u, fixed)
                z = x - u
                y = (x + z) / 2 - v
                s, t = 1 - z, 1 - y
            e = 0.035
            inside = (x >= x0 - e) & (x <= x1 + e) & (y >= y0 - e) & (y <= y1 + e) & (z >= z0 - e) & (z <= z1 + e)
            near = x + y + z
            inside &= near > depth
            texel = texture[np.clip((t * 16).astype(int), 0, 15), np.clip((s * 16).astype(int), 0, 15)].astype(
                np.float64
            )
            inside &= texel[..., 3] > 20
            out[inside, :3] = texel[inside, :3] * light
            out[inside, 3] = 255
            depth[inside] = near[inside]
    return out
