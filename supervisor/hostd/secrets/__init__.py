"""virSecret: definitions and values."""
