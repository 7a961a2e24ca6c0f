"""Disks of a QEMU domain: block nodes, backing chains, owners, I/O limits, secrets."""
