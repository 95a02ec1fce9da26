"""Action space of keys, buttons and mouse movement."""
