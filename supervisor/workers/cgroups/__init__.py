"""Cgroups of guests, for both drivers: where they are, their values, and what the XML makes them.

`hierarchies`: what the host has mounted; `group`: one group in it; `limits`: the XML's elements as
values; `readings`: values as libvirt's parameters; `changes`: replacing some by others;
`containers`: what liblxc's groups need; `devices`: which of the host's devices a guest may open.
"""
