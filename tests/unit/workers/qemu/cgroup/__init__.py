"""The cgroup of one QEMU."""
