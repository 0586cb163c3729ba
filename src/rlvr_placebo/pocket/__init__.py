"""The embedded families: priors, corpora, pre-training."""
