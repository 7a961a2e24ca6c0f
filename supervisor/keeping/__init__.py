"""What services keep of the things they own: a table in memory, definitions and states on disk."""
