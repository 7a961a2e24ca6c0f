"""The bus messages between processes, one module per receiving service."""
