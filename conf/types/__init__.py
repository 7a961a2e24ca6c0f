"""Attribute types that the XML models share: booleans, sizes, CPU sets, UUIDs, MAC addresses."""
