"""Installation of the daemon on a host, and the Debian package."""
