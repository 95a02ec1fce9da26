"""Minecraft 1.16.5 facts shared by worlds: items, recipes, digging, windows, tasks."""
