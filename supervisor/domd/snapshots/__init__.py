"""Snapshots of domains: their tree and files, and what makes, reverts and deletes them."""
