"""Statistics of a QEMU domain."""
