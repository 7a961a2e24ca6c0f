"""The private /dev of a guest: which nodes it has, making it, changing it."""
