"""The node: capabilities, CPU, NUMA and memory facts, emulator probes."""
