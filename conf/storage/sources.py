"""<sources>: result of pool source discovery, and its <source> argument. Pure.

Owns: parsing the argument, formatting the result; backends discover.
Source: libvirt 9.0, virConnectFindStoragePoolSources.
"""

from __future__ import annotations

from collections.abc import Iterable

from conf.mapper import Mode, parse, write
from conf.storage.source import PoolSource


def parse_source(xml: bytes | str) -> PoolSource:
    """Parse the <source> of a discovery: the server's <host>, perhaps more.

    Raises:
        ConfError: "xml" or "xml_detail".
    """
    return parse(PoolSource, xml)


def format_sources(sources: Iterable[PoolSource]) -> str:
    """Format <sources>; each <source> is valid in a pool's XML."""
    written = "".join(write(source, Mode(), level=1) for source in sources)
    return f"<sources>\n{written}</sources>\n"
