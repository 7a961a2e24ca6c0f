"""The host's devices, as virNodeDevice has them: read from /sys at every call."""
