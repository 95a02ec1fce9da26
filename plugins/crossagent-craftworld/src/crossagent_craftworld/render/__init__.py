"""Pixels: what the player sees, drawn from the world with textures made here; see :class:`renderer.Renderer`."""
