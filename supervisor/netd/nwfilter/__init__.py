"""Filters of guests' traffic: nwfilters, their bindings to taps, and what the kernel does of it.

Owns: etc/libvirt/nwfilter, run/libvirt/nwfilter-binding, and taps' chains in ebtables, iptables
and ip6tables, or nftables' table `bridge libvirt_nwfilter`.
May touch: those. May not touch: networks' rules, taps themselves, guests.
"""
