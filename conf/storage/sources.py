"""<sources>: what could become pools, and the wish to look for them.

Owns: reading the wish, writing the answer. Looking is the backends'. Pure.
Source: libvirt 9.0, virConnectFindStoragePoolSources.
"""

from __future__ import annotations

from collections.abc import Iterable

from conf.mapper import Mode, parse, write
from conf.storage.source import PoolSource


def parse_source(xml: bytes | str) -> PoolSource:
    """Read where to look: a <source> with the server's <host>, and perhaps more.

    Raises:
        ConfError: kind "xml" or "xml_detail": it is none.
    """
    return parse(PoolSource, xml)


def format_sources(sources: Iterable[PoolSource]) -> str:
    """Write what was found; each entry can stand in a pool's document as it is."""
    written = "".join(write(source, Mode(), level=1) for source in sources)
    return f"<sources>\n{written}</sources>\n"
