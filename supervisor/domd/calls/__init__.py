"""Clients' calls on domains, a module for each group."""
