"""Cgroups of guests."""
