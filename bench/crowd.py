"""Thousands."""

from __future__ import annotations


def crowd_rows():
    return ()
