"""Attaching, updating and detaching devices of a running QEMU domain."""
