"""Training with Lightning: SFT, GRPO, and where their data comes from."""
