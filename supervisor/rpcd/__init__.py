"""rpcd: client connections, the protocol, streams and events."""
