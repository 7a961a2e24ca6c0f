"""What touches pools' files and devices, each pool in a process of its own."""
