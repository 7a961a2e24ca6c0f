"""Refusals of a domain's XML that need no emulator, made while it is parsed."""
