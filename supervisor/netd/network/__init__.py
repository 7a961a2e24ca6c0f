"""The virtual network driver: definitions, start and stop, status, recovery."""
