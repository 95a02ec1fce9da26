"""Worlds as the core sees them: the environment contract, its interfaces, task suites and worker processes."""
