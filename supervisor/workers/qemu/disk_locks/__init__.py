"""Locks of the images that a guest writes to, against guests of other hosts."""
