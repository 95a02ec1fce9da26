"""Minecraft 1.16.5 facts shared by worlds: items, blocks, digging, loot, recipes, windows, mobs, benchmark tasks.

A plain library over the PyPI package ``minecraft_data``, with one reviewed table of our own (``facts.toml``) for what
that lacks or has wrong. Each module parses its tables when it is first imported.
"""
