"""Processes beside QEMU that serve its devices: virtiofsd, swtpm (libvirt's qemu_extdevice.c)."""
