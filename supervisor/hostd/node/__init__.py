"""The node: topology, memory, counters, SMBIOS."""
