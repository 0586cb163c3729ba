"""Numbers with errors, computed from run directories alone."""
