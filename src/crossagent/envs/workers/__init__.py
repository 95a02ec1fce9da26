"""Environment workers: processes that hold the worlds, and what their failures cost."""
