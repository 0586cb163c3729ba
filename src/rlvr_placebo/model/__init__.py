"""The decoder, its checkpoints, and log-probabilities."""
