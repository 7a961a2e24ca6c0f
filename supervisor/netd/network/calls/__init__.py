"""virNetwork calls."""
