"""The status file of an active pool: what a restarted stord needs to know of it. Pure.

Owns: that XML, <poolstate>. Source: libvirt 9.0's run/libvirt/storage/NAME.xml.
"""

from __future__ import annotations

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.storage import Pool, format_pool, parse_pool


def format_status(pool: Pool) -> str:
    """Write the XML."""
    inner = "".join(f"  {line}\n" for line in format_pool(pool).splitlines())
    return f"<poolstate>\n{inner}</poolstate>\n"


def parse_status(text: str) -> Pool:
    """Read the XML.

    Raises:
        ConfError: it is no <poolstate> with a valid <pool>.
    """
    root = parse_tree(text)
    pool = root.find("pool") if root.tag == "poolstate" else None
    if pool is None:
        raise ConfError("xml", "the status has no <pool>")
    return parse_pool(etree.tostring(pool, encoding="unicode", with_tail=False))
