"""Records, seeds, statistics and the run directory: what every floor above agrees on."""
