"""What a run will need and take, before it runs: pure functions of numbers, without torch and without weights."""
