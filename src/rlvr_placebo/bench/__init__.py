"""How fast we are, beside a peer and the floor that arithmetic sets."""
