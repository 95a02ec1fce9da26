"""Finding plugins: entry points, faults isolated, lookups by name."""

from crossagent.registry.plugin_set import PluginSet, load_plugins

__all__ = ["PluginSet", "load_plugins"]
