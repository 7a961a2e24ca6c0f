"""Clients' calls on pools and volumes."""
