"""Clients' calls on virtual networks."""
