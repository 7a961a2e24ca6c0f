"""Addresses: every device of a domain gets its place, as libvirt 9.0 gives it.

`assign.assign_addresses(domain, facts)` is the entry.
"""
