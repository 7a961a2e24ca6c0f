"""Clients' calls on a running container."""
