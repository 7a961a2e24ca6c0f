"""Addresses: every device of a domain gets the address that libvirt 9.0 assigns.

`assign.assign_addresses(domain, facts)` is the entry.
"""
