"""Action space of typed skill calls."""
