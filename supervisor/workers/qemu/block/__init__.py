"""A QEMU domain's disks: backing chains, I/O limits, secrets."""
