"""dnsmasq of a network: configuration files, process, DHCP leases."""
