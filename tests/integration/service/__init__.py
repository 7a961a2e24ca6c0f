"""The installed service in a machine whose process 1 is systemd; run by hand."""
