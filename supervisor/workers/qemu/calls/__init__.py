"""Clients' calls on a running guest, a module an area; each method is named as in the table."""
