"""The worker of a container: liblxc's tools, driven for one guest."""
