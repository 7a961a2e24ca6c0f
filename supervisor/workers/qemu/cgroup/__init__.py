"""The cgroup of one QEMU: where it is, what the XML sets in it, changing that while it runs."""
