"""Network filters: definitions, bindings to taps, and their rules in the kernel.

Owns: etc/libvirt/nwfilter, run/libvirt/nwfilter-binding, and taps' chains in ebtables, iptables
and ip6tables, or nftables' table `bridge libvirt_nwfilter`.
May touch: those. May not touch: networks' rules, taps themselves, guests.
"""
