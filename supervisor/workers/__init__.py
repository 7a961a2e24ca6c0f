"""Guest workers: one process per running guest."""
