"""netd: virtual networks, guests' ports, the host's interfaces, filters."""
