"""The DHCP and DNS server of a network: its files, its process, its leases."""
