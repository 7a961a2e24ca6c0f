"""Clients' calls on the host, a module for each group."""
