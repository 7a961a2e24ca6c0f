"""<domaincheckpoint>: parsing with libvirt's checks in libvirt's order, and formatting.

Owns: that; the form in which a checkpoint is kept in a file. May not touch: files.
Source: libvirt 9.0, virDomainCheckpointDefParse and virDomainCheckpointDefFormat.
"""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

from conf.checkpoint.model import Checkpoint, CheckpointDisk
from conf.errors import ConfError
from conf.mapper import Mode, parse_root, read, write
from conf.moment.nested_domain import cut_domain, inside, nested_domain, string

CLOSING: Final = "</domaincheckpoint>\n"
#: Of the schema, which libvirt always checks: a name is a file's, too.
NAME: Final = re.compile(r"[a-zA-Z0-9_\-][a-zA-Z0-9_\-.]*")


def parse_checkpoint(xml: bytes | str, *, redefine: bool = False) -> Checkpoint:
    """Parse a client's checkpoint.

    The domain in it is as written: without defaults.

    Args:
        xml: the document.
        redefine: it describes a checkpoint that there is, with its time, parent and domain.

    Raises:
        ConfError: it is none, or contradicts itself; the kind is libvirt's code.
    """
    root = parse_root(Checkpoint, xml)
    checkpoint = Checkpoint(
        name=string(root, "name") or "", description=string(root, "description")
    )
    if redefine:
        if not checkpoint.name:
            raise ConfError("xml", "a redefined checkpoint must have a name")
        _read_past(root, checkpoint, string(root, "creationTime"))
        node = root.find("domain")
        if node is not None and node.get("type"):
            checkpoint.domain = nested_domain(node, "domain")
    check_name(checkpoint.name)
    checkpoint.disks = [read(CheckpointDisk, node) for node in inside(root, "disks")]
    return checkpoint


def check_name(name: str) -> None:
    """Refuse a name that cannot be a file's; "" is none yet.

    Raises:
        ConfError: "xml_invalid_schema".
    """
    if name and not NAME.fullmatch(name):
        raise ConfError("xml_invalid_schema", f"invalid checkpoint name '{name}'\n")


def _read_past(root: etree._Element, checkpoint: Checkpoint, time: str | None) -> None:
    """Read what only a checkpoint that was made has."""
    try:
        checkpoint.creation_time = int(time or "")
    except ValueError:
        detail = "missing creationTime from existing checkpoint"
        raise ConfError("internal", detail, "domaincheckpoint/creationTime") from None
    checkpoint.parent = string(root, "parent/name")


def format_checkpoint(checkpoint: Checkpoint, *, secure: bool = False, domain: bool = True) -> str:
    """Format a checkpoint.

    Args:
        checkpoint: what to write.
        secure: with passwords.
        domain: with the domain that it was made of.
    """
    head = write(checkpoint, Mode(secure=secure)).removesuffix(CLOSING)
    nested = ""
    if domain and checkpoint.domain is not None:
        nested = checkpoint.domain.xml if secure else checkpoint.domain.public_xml()
    return head + nested + CLOSING


def parse_stored(xml: str) -> Checkpoint:
    """Read a checkpoint's file, also one of a stock daemon's.

    The domain is cut out of the text as it is: it is parsed when it is needed.

    Raises:
        ConfError: the file is damaged.
    """
    root = parse_root(Checkpoint, xml)
    checkpoint = Checkpoint(
        name=string(root, "name") or "", description=string(root, "description")
    )
    node = root.find("domain")
    if node is not None:
        root.remove(node)
    _read_past(root, checkpoint, string(root, "creationTime") or "0")  # 0 is not written
    check_name(checkpoint.name)
    checkpoint.disks = [read(CheckpointDisk, item) for item in inside(root, "disks")]
    if node is not None and node.get("type"):
        checkpoint.domain = cut_domain(xml, node, "domain")
    return checkpoint
