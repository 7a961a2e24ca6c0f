"""QEMU binaries: found, probed, what each can do."""
