"""<memory>: modules that can be plugged.

Source: libvirt 9.0 formatdomain, "Memory devices".
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.errors import ConfError
from conf.mapper import attribute, child, element, flag, text
from conf.types.bool import yes_no
from conf.types.cpuset import cpuset
from conf.types.enum import one_of
from conf.types.integer import int_unsigned
from conf.types.size import Amount


def _node(text: str) -> int:
    try:
        return int_unsigned(text)
    except ValueError:
        detail = "invalid value of memory device node"
        raise ConfError("xml", detail, "memory/target/node") from None


@element("target")
@dataclass(slots=True, kw_only=True)
class MemoryTarget:
    """<target> of a memory device, in KiB."""

    size_amount: Amount | None = child("size", Amount)
    node: int | None = text("node", read=_node)
    label_size: Amount | None = child("label/size", Amount)
    readonly: bool = flag("readonly")
    block_amount: Amount | None = child("block", Amount)
    requested_amount: Amount | None = child("requested", Amount)
    current_amount: Amount | None = child("current", Amount, only="live")

    @property
    def size(self) -> int:
        """How large the device is."""
        return self.size_amount.amount if self.size_amount else 0

    @property
    def block(self) -> int | None:
        """The least that can be plugged."""
        return self.block_amount.amount if self.block_amount else None

    @property
    def requested(self) -> int | None:
        """How much the guest is asked to use."""
        return self.requested_amount.amount if self.requested_amount else None


@element("memory")
@dataclass(slots=True, kw_only=True)
class MemoryDevice:
    """<memory>: a module that can be plugged."""

    model: str = attribute(
        "@model",
        read=one_of("dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc"),
        default="",
        required=True,
    )
    access: str | None = attribute("@access", read=one_of("shared", "private"))
    discard: bool | None = attribute("@discard", read=yes_no)
    uuid: str | None = text("uuid")
    source_path: str | None = text("source/path", first=True)
    source_align: Amount | None = child("source/alignsize", Amount, first=True)
    source_pmem: str | None = text("source/pmem", first=True)
    source_nodes: str | None = text("source/nodemask", read=cpuset, first=True)
    source_page: Amount | None = child("source/pagesize", Amount, first=True, empty_is_absent=True)
    target: MemoryTarget = child("target", MemoryTarget)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Check that the parts are there.

        Raises:
            ConfError: "xml".
        """
        target = node.find("target")
        if target is None:
            detail = "missing target element for <memory> device"
            raise ConfError("xml", detail, "domain/devices/memory/target")
        if not target.findtext("size"):
            detail = "missing element or attribute './size'"
            raise ConfError("xml", detail, "domain/devices/memory/target/size")

    def after_read(self) -> None:
        """Drop what the model does not have."""
        target = self.target
        if self.model != "nvdimm":
            self.uuid = self.source_align = self.source_pmem = target.label_size = None
            target.readonly = False
        if self.model not in ("nvdimm", "virtio-pmem"):
            self.source_path = None
        if self.model not in ("dimm", "virtio-mem"):
            self.source_page = None
            if self.model != "sgx-epc":
                self.source_nodes = None
        if self.model != "virtio-mem":
            target.block_amount = target.requested_amount = target.current_amount = None
        elif target.requested_amount is None:
            target.requested_amount = Amount(amount=0)
