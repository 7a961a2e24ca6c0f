"""Bytes of clients in and out: listening sockets and connections."""
