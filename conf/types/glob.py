"""Patterns of names, as GLib's GPatternSpec: `*` and `?` alone are special.

Owns: matching them. Pure.
Source: libvirt 9.0 matches tls_allowed_dn_list and sasl_allowed_username_list so.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns is for the whole of a name."""
    # For fnmatch a bracket is special, too.
    return any(fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in patterns)
