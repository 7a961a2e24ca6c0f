"""Devices that come, change and go while a guest runs."""
