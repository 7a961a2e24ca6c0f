"""What snapshots and checkpoints of domains share: their tree and their files."""
