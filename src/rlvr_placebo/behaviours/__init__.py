"""Text → label: what a completion does, whatever it is worth."""
