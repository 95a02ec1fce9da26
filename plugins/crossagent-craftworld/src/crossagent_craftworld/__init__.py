"""Embedded 3-D block world on Minecraft 1.16.5 data."""
