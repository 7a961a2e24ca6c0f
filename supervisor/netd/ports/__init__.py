"""Ports: the taps and macvtaps of guests' interfaces, and their attachment to networks."""
