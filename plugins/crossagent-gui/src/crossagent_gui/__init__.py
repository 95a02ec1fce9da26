"""Action space of clicks on a screen."""
