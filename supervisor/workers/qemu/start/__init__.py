"""Starting a QEMU domain, or reconnecting to one."""
