"""<metadata>: what applications keep with a guest, an element for each of their namespaces.

Owns: which of its elements are kept. Pure.
Source: libvirt 9.0 formatdomain, "General metadata".
"""

from __future__ import annotations

from lxml import etree


def drop_repeated_namespaces(metadata: etree._Element) -> None:
    """Drop elements without a namespace, and all but the first of each."""
    seen: set[str] = set()
    for element in list(metadata):
        namespace = etree.QName(element).namespace
        if namespace is None or namespace in seen:
            metadata.remove(element)
        else:
            seen.add(namespace)
