"""Checkpoints of domains: their tree and files, and what makes and deletes them."""
