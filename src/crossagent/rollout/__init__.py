"""Playing episodes: the turn loop, groups, demonstrations, batches, evaluation and the trajectory store."""
