"""QMP: the protocol, the monitor, replies and events."""
