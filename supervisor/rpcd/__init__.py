"""The front door: client sockets, the wire protocol, streams and events."""
