"""The training flow: motion capture to clips, bodies, cameras, noise, batches, runs, weights."""
