"""Access control: which client may do what to which object (libvirt: src/access)."""
