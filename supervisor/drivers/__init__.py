"""The hypervisor drivers, a row each."""
