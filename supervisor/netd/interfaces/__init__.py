"""Interfaces of the host (virInterface): definitions, start and stop."""
