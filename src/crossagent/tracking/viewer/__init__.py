"""What an agent did, to look at: one HTML file of trajectories, an episode as an image, a live page of a run."""
