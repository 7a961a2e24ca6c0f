"""Shutdown, reboot, suspend, stop, and the on_* actions of a QEMU domain."""
