"""<domainsnapshot>: parsing with libvirt's checks in libvirt's order, and formatting.

Owns: that; the form in which a snapshot is kept in a file. May not touch: files.
Source: libvirt 9.0, virDomainSnapshotDefParse and virDomainSnapshotDefFormat.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lxml import etree

from conf.domain import Domain
from conf.errors import ConfError
from conf.mapper import Mode, parse_root, read, write
from conf.moment.nested_domain import cut_domain, inside, nested_domain, string
from conf.snapshot.model import (
    Snapshot,
    SnapshotDisk,
    SnapshotLocation,
    SnapshotMemory,
    SnapshotState,
)

CLOSING: Final = "</domainsnapshot>\n"


def parse_snapshot(xml: bytes | str, *, redefine: bool = False, offline: bool = False) -> Snapshot:
    """Parse a client's snapshot.

    The domains in it are as written: without defaults.

    Args:
        xml: the document.
        redefine: it describes a snapshot that there is, with its state, time and domain.
        offline: the domain is off, or only disks are asked for: no memory can be kept.

    Raises:
        ConfError: it is none, or contradicts itself; the kind is libvirt's code.
    """
    root = parse_root(Snapshot, xml)
    snapshot = Snapshot(name=string(root, "name") or "", description=string(root, "description"))
    if redefine:
        if not snapshot.name:
            raise ConfError("xml", "a redefined snapshot must have a name")
        _read_past(root, snapshot)
        offline = snapshot.kind in (SnapshotState.SHUTOFF, SnapshotState.DISK_SNAPSHOT)
    _read_memory(root, snapshot, redefine=redefine, offline=offline)
    snapshot.disks = [read(SnapshotDisk, node) for node in inside(root, "disks")]
    if not offline:
        snapshot.cookie = _verbatim(root, "cookie")
    return snapshot


def _read_past(root: etree._Element, snapshot: Snapshot) -> None:
    """Read what only a snapshot that was made has."""
    try:
        snapshot.creation_time = int(string(root, "creationTime") or "")
    except ValueError:
        detail = "missing creationTime from existing snapshot"
        raise ConfError("internal", detail, "domainsnapshot/creationTime") from None
    snapshot.parent = string(root, "parent/name")
    state = string(root, "state")
    if state is None:
        raise ConfError("xml", "missing state from existing snapshot", "domainsnapshot/state")
    if state not in SnapshotState.__members__.values() or state == SnapshotState.NOSTATE:
        detail = f"Invalid state '{state}' in domain snapshot XML"
        raise ConfError("config_unsupported", detail, "domainsnapshot/state")
    snapshot.state = state
    node = root.find("domain")
    if node is not None and node.get("type"):
        snapshot.domain = nested_domain(node, "domain")
    inactive = root.find("inactiveDomain")
    if inactive is not None:
        snapshot.inactive_domain = nested_domain(inactive, "inactiveDomain")


def _read_memory(
    root: etree._Element, snapshot: Snapshot, *, redefine: bool, offline: bool
) -> None:
    node = root.find("memory")
    memory = read(SnapshotMemory, node) if node is not None else SnapshotMemory()
    if memory.snapshot == SnapshotLocation.MANUAL:
        raise ConfError("xml", "'manual' memory snapshot mode not supported")
    if memory.snapshot is None and memory.file is not None:
        memory.snapshot = SnapshotLocation.EXTERNAL
    elif memory.snapshot is None and redefine:
        memory.snapshot = SnapshotLocation.NO if offline else SnapshotLocation.INTERNAL
    external = memory.snapshot == SnapshotLocation.EXTERNAL
    if memory.file is not None and not external:
        raise ConfError("xml", f"memory filename '{memory.file}' requires external snapshot")
    if not memory.file and external:
        raise ConfError("xml", "external memory snapshots require a filename")
    if offline and memory.snapshot not in (None, SnapshotLocation.NO):
        detail = "memory state cannot be saved with offline or disk-only snapshot"
        raise ConfError("xml", detail)
    if memory.file and not memory.file.startswith("/"):
        raise ConfError("xml", f"memory snapshot file path ({memory.file}) must be absolute")
    snapshot.memory = memory


def _verbatim(root: etree._Element, tag: str) -> str | None:
    node = root.find(tag)
    if node is None:
        return None
    holder = etree.Element("x")
    holder.append(node)
    text = etree.tostring(holder, encoding="unicode", pretty_print=True)
    return text.removeprefix("<x>\n").removesuffix("</x>\n")


def format_snapshot(snapshot: Snapshot, *, uuid: str = "", secure: bool = False) -> str:
    """Format a snapshot.

    Args:
        snapshot: what to write.
        uuid: of the domain, for a snapshot without one.
        secure: with passwords.
    """
    head = write(snapshot, Mode(secure=secure)).removesuffix(CLOSING)
    return head + "".join(_parts(snapshot, uuid, secure=secure)) + CLOSING


def _parts(snapshot: Snapshot, uuid: str, *, secure: bool) -> Iterable[str]:
    if snapshot.domain is not None:
        yield snapshot.domain.xml if secure else snapshot.domain.public_xml()
    elif uuid:
        yield f"  <domain>\n    <uuid>{uuid}</uuid>\n  </domain>\n"
    inactive = snapshot.inactive_domain
    if inactive is not None:
        yield inactive.xml if secure else inactive.public_xml("inactiveDomain")
    if snapshot.cookie:
        yield snapshot.cookie


def format_stored(snapshot: Snapshot, *, uuid: str, is_current: bool) -> str:
    """Format a snapshot for its file: with passwords, whether it is current or being deleted."""
    text = format_snapshot(snapshot, uuid=uuid, secure=True).removesuffix(CLOSING)
    deleted = "  <deleteInProgress/>\n" if snapshot.is_deleted else ""
    return f"{text}  <active>{int(is_current)}</active>\n{deleted}{CLOSING}"


def parse_stored(xml: str) -> tuple[Snapshot, bool]:
    """Read a snapshot's file, also one of a stock daemon's.

    The domains are cut out of the text as they are: a domain with 500 snapshots is listed without
    parsing 500 domains.

    Returns:
        The snapshot, and whether it is the current one.

    Raises:
        ConfError: the file is damaged.
    """
    root = parse_root(Snapshot, xml)
    snapshot = Snapshot(name=string(root, "name") or "", description=string(root, "description"))
    node = root.find("domain")
    inactive = root.find("inactiveDomain")
    for outer in (node, inactive):
        if outer is not None:
            root.remove(outer)
    _read_past(root, snapshot)
    _read_memory(root, snapshot, redefine=True, offline=False)
    snapshot.disks = [read(SnapshotDisk, item) for item in inside(root, "disks")]
    snapshot.revert_disks = [read(SnapshotDisk, item) for item in inside(root, "revertDisks")]
    snapshot.cookie = _verbatim(root, "cookie")
    if node is not None and node.get("type"):
        snapshot.domain = cut_domain(xml, node, "domain")
    if inactive is not None:
        snapshot.inactive_domain = cut_domain(xml, inactive, "inactiveDomain")
    snapshot.is_deleted = root.find("deleteInProgress") is not None
    active = string(root, "active")
    if active is None:
        raise ConfError("internal", "Could not find 'active' element")
    return snapshot, active.strip() not in ("", "0")


def domain_of(snapshot: Snapshot) -> Domain:
    """Return the domain of a snapshot.

    Raises:
        ConfError: "internal": it has none.
    """
    if snapshot.domain is None:
        raise ConfError("internal", "missing domain in snapshot")
    return snapshot.domain.model
