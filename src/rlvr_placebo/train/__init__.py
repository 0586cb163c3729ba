"""Configuration, preflight, the loop and its checkpoints."""
