"""<source> of a pool: where its storage comes from.

Owns: the models; `conf.storage.formats` has the parts that each pool type uses.
Source: libvirt 9.0 formatstorage, "Source elements".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lxml import etree

from conf.errors import ConfError
from conf.mapper import Mode, attribute, child, children, element, parse, text, write
from conf.storage.adapter import Adapter
from conf.storage.attributes import clean_path
from conf.storage.credentials import PoolAuth
from conf.types.bool import yes_no
from conf.types.integer import int_signed


@element("host")
@dataclass(slots=True, kw_only=True)
class PoolHost:
    """<host>: a storage server."""

    name: str | None = attribute("@name")
    port: int | None = attribute("@port", read=int_signed, omit=0)

    def after_read(self) -> None:
        """Refuse a host without a name; libvirt takes an empty one."""
        if self.name is None:
            raise ConfError("xml", "missing storage pool host name", "source/host")


def _measured(_: str) -> int:
    """Return 0: what is free is measured, never read."""
    return 0


@element("freeExtent")
@dataclass(slots=True, kw_only=True)
class FreeExtent:
    """<freeExtent>: an unpartitioned byte range of a disk; the end is exclusive."""

    start: int = attribute("@start", read=_measured, default=0)
    end: int = attribute("@end", read=_measured, default=0)


@element("device")
@dataclass(slots=True, kw_only=True)
class PoolDevice:
    """<device>: a disk, a partition, or an iSCSI target's name."""

    path: str = attribute("@path", default="")
    part_separator: bool | None = attribute("@part_separator", read=yes_no)
    free_extents: list[FreeExtent] = children("freeExtent", FreeExtent)

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Refuse a device without a path; libvirt takes an empty one."""
        if node.get("path") is None:
            raise ConfError("xml", "missing storage pool source device path", "source/device")

    def after_read(self) -> None:
        """Drop what is free: it is never taken from a document."""
        self.free_extents = []


@element("source")
@dataclass(slots=True, kw_only=True)
class PoolSource:
    """<source> of a pool."""

    hosts: list[PoolHost] = children("host", PoolHost)
    devices: list[PoolDevice] = children("device", PoolDevice)
    dir: str | None = attribute("dir/@path", read=clean_path, omit="")
    adapter: Adapter | None = child("adapter", Adapter)
    name: str | None = text("name", omit="")
    initiator: str | None = attribute("initiator/iqn/@name", empty_is_absent=True)
    format: str | None = attribute("format/@type")
    auth: PoolAuth | None = child("auth", PoolAuth)
    protocol_version: str | None = attribute("protocol/@ver", empty_is_absent=True)
    vendor: str | None = attribute("vendor/@name", empty_is_absent=True)
    product: str | None = attribute("product/@name", empty_is_absent=True)


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
