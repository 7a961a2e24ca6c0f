"""Refusals of a completed QEMU domain."""
