"""Advantages, losses, batches and optimizer steps."""
