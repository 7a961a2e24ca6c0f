"""Tests of saving, restoring and dumping guests."""
