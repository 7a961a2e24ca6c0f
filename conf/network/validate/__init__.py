"""Refusals of a network's XML, a module for each part of it."""
