"""The matrix of runs, and the launcher of one machine."""
