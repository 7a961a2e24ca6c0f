"""Parts of caches and of memory bandwidth for vCPUs, and what they use: the kernel's resctrl."""
