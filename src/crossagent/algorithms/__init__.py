"""Pure functions on tensors: advantages, losses, KL, aggregation. Imports torch and nothing of ours."""
