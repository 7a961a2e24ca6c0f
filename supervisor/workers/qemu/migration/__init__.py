"""QEMU's migration stream: out of a guest into a descriptor or a file, and back into a new one."""
