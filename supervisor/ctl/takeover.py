"""virtvisorctl takeover --check: what would come along if another daemon took this host over.

Owns: that list. May touch: definition and status files, sockets' paths and /proc, to read; the
system's D-Bus, through `machines`.
May not touch: guests, monitors, the daemon: it may be run beside either daemon.

A status file that libvirt's daemon wrote is looked at as this daemon would at its start, one of
this daemon as libvirt's would (docs/takeover.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lxml import etree

from conf.domain import parse_domain
from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.network import parse_network
from conf.nwfilter import parse_filter
from conf.nwfilter import parse_status as parse_binding_status
from conf.storage import parse_pool
from supervisor.ctl.confinement import guest_profile
from supervisor.ctl.machines import unknown_guests
from supervisor.objects.domain_status_xml import Status, StatusError, read_status
from supervisor.runtime.document_files import read_document
from supervisor.runtime.paths import Paths
from supervisor.runtime.pidfd import ProcessIdentity

#: The types of pools that this daemon starts; `supervisor.stord.backends` has how.
POOL_TYPES: Final = frozenset(("dir", "fs", "netfs", "logical", "disk", "iscsi"))
#: libvirt's daemon ends such a guest.
UNKNOWN: Final = "systemd-machined does not know it, and libvirt would end it: save it before"
UNKNOWN_IN_SCOPE: Final = (
    "systemd-machined does not know it, and libvirt would end it: restart this daemon before, which"
    " registers it"
)
#: Only libvirt's daemon adds to a profile what is plugged later.
CONFINED: Final = "AppArmor's profile {} stays as it is: what is plugged later is denied"


@dataclass(frozen=True, slots=True)
class Finding:
    """One object, and what becomes of it."""

    kind: str
    name: str
    obstacle: str = ""  # why it does not come along; "": it does
    note: str = ""  # what is different afterwards


def find_all(paths: Paths) -> list[Finding]:
    """List what runs on this host, and the definitions that would not be read.

    Raises:
        OSError: a folder cannot be read.
    """
    return [
        *_guests(paths.for_driver("qemu")),
        *_containers(paths.for_driver("lxc")),
        *_active("network", paths.network_status_dir(), _check_network),
        *_active("pool", paths.storage_status_dir(), _check_pool),
        *_active("filter binding", paths.run / "nwfilter-binding", _check_binding),
        *_definitions("domain", paths.domain_configs(), parse_domain),
        *_definitions("network", paths.networks(), parse_network),
        *_definitions("pool", paths.storage(), parse_pool),
        *_definitions("filter", paths.etc / "nwfilter", parse_filter),
    ]


def _guests(paths: Paths) -> Iterator[Finding]:
    found = [_read_guest(path) for path in _xml_files(paths.status_dir())]
    ours = (each.pid for each in found if isinstance(each, Status) and not each.foreign)
    unknown = unknown_guests([pid for pid in ours if pid])
    for each in found:
        if isinstance(each, Finding):
            yield each
        else:
            yield Finding("guest", each.name, _guest_obstacle(each, unknown), _guest_note(each))


def _read_guest(path: Path) -> Status | Finding:
    try:
        stored = read_status(path)
    except (OSError, StatusError) as error:
        return Finding("guest", path.stem, str(error))
    return stored[0] if stored is not None else Finding("guest", path.stem, "it has just ended")


def _guest_obstacle(status: Status, unknown: frozenset[int]) -> str:
    if not ProcessIdentity(status.pid, status.start, status.boot).runs():
        return ""
    if status.pid in unknown:
        return UNKNOWN_IN_SCOPE if ".scope/" in status.cgroup else UNKNOWN
    if not os.path.exists(status.monitor):
        return f"its monitor's socket {status.monitor} does not exist"
    if not status.foreign and not status.can_move:
        return "this daemon has a job of it under way, or does not know its QEMU's capabilities"
    return ""


def _guest_note(status: Status) -> str:
    if not ProcessIdentity(status.pid, status.start, status.boot).runs():
        return "it has ended, and is cleaned up"
    profile = guest_profile(status.pid) if status.foreign else ""
    return profile and CONFINED.format(profile)


def _containers(paths: Paths) -> Iterator[Finding]:
    for path in _xml_files(paths.status_dir()):
        try:
            read_status(path)
        except (OSError, StatusError) as error:
            yield Finding("container", path.stem, str(error))
        else:
            yield Finding("container", path.stem, "libvirt's daemon cannot drive it")


def _active(kind: str, folder: Path, check: Callable[[str], str]) -> Iterator[Finding]:
    for path in _xml_files(folder):
        try:
            yield Finding(kind, path.stem, check(read_document(path)))
        except (OSError, ValueError, ConfError) as error:
            yield Finding(kind, path.stem, f"{path} cannot be read: {error}")


def _check_network(text: str) -> str:
    network = parse_network(_embedded(text, "networkstatus", "network"))
    if network.bridge is not None and network.bridge.zone:
        return f"its zone '{network.bridge.zone}' needs firewalld, which this daemon does not drive"
    return ""


def _check_pool(text: str) -> str:
    pool = parse_pool(_embedded(text, "poolstate", "pool"))
    return "" if pool.type in POOL_TYPES else f"pools of type '{pool.type}' are not started"


def _check_binding(text: str) -> str:
    parse_binding_status(text)
    return ""


def _embedded(text: str, outer: str, inner: str) -> str:
    """Return the element of a status file that the definition is in.

    Raises:
        ConfError: it has none.
    """
    root = parse_tree(text)
    element = root.find(inner) if root.tag == outer else None
    if element is None:
        raise ConfError("xml", f"it has no <{outer}> with a <{inner}>")
    return etree.tostring(element, encoding="unicode", with_tail=False)


def _definitions(kind: str, folder: Path, parse: Callable[[str], object]) -> Iterator[Finding]:
    """List the definitions that this daemon does not read."""
    for path in _xml_files(folder):
        try:
            parse(read_document(path))
        except (OSError, ValueError, ConfError) as error:
            yield Finding(kind, path.stem, f"the definition {path} is not read: {error}")


def _xml_files(folder: Path) -> Sequence[Path]:
    """List a folder's XML files; none where there is no folder.

    Raises:
        OSError: it cannot be read.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if name.endswith(".xml")]


def format_findings(findings: Sequence[Finding]) -> str:
    """Format a line for each."""
    if not findings:
        return "nothing runs here\n"
    kinds = max(len(finding.kind) for finding in findings)
    names = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        result = f"DOES NOT COME ALONG: {finding.obstacle}" if finding.obstacle else "comes along"
        note = f" ({finding.note})" if finding.note and not finding.obstacle else ""
        lines.append(f"{finding.kind:{kinds}}  {finding.name:{names}}  {result}{note}\n")
    return "".join(lines)
