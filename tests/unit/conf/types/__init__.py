"""Tests of the types that XML models share."""
