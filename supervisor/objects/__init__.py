"""What libvirt calls an object: name, UUID, definition, status, autostart, change lock."""
