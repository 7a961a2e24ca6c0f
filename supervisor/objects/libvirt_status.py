"""The status file of a domain that libvirt's own daemon has started: <domstatus>, read. Pure.

Owns: which of its elements count here. May touch: text only.
Source: libvirt 9.0, virDomainObjFormat, qemuDomainObjPrivateXMLFormat.

A guest is taken over between its jobs: what a save, a migration or a block job under way has done
so far, and how libvirt would end it, is not in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lxml import etree

from conf.domain import format_domain, parse_domain
from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from supervisor.objects.state_names import parse_state

MAX_PID: Final = 1 << 22  # of the kernel, PID_MAX_LIMIT
QEMU_TYPES: Final = ("qemu", "kvm")  # <domain type=>
NO_JOB: Final = (None, "none")
#: Children of an interface that <actual> has in place of the interface.
FROM_NETWORK: Final = ("virtualport", "vlan", "bandwidth")
#: Attributes of <actual>'s <source> that the live XML has in that of the interface.
CHOSEN: Final = ("bridge", "dev", "mode")


class NotTaken(Exception):
    """A guest cannot be taken over; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtStatus:
    """What libvirt's status file says of a running domain."""

    driver: str  # <domain type=>: "qemu", "kvm", "lxc", …
    name: str
    uuid: str
    id: int
    state: int  # virDomainState
    reason: int
    pid: int
    monitor: str  # the socket's path
    live_xml: str
    taints: tuple[str, ...] = ()
    deprecations: tuple[str, ...] = ()
    fake_reboot: bool = False
    agent_timeout: int = -2
    namespaces: tuple[str, ...] = ()  # "mount": it has a /dev of its own
    flags: str = ""  # the QEMU's capabilities, <qemuCaps>


def parse_libvirt_status(text: str) -> LibvirtStatus:
    """Read a status file of libvirt's.

    Raises:
        NotTaken: it describes a guest that cannot be taken over.
        ConfError, ValueError: it is none.
    """
    root = parse_tree(text)
    element = root.find("domain")
    if root.tag != "domstatus" or element is None:
        raise ConfError("xml", "it has no <domstatus> with a <domain>")
    _refuse(root, element)
    state, reason = parse_state(root.get("state", ""), root.get("reason", ""))
    monitor = root.find("monitor")
    live = _live_domain(element)
    domain = parse_domain(live)
    if domain.uuid is None or domain.id is None:
        raise ConfError("xml", "its <domain> has no <uuid> or no id=")
    pid = int(root.get("pid", "0"))
    if not 0 <= pid <= MAX_PID:
        raise ConfError("xml", f"no process has the number {pid}")
    fake_reboot, timeout = root.find("fakereboot"), root.findtext("agentTimeout")
    return LibvirtStatus(
        driver=domain.type,
        name=domain.name,
        uuid=domain.uuid,
        id=domain.id,
        state=state,
        reason=reason,
        pid=pid,
        monitor=monitor.get("path", "") if monitor is not None else "",
        live_xml=format_domain(domain, live=True, secure=True),
        taints=tuple(taint.get("flag", "") for taint in root.findall("taint")),
        deprecations=tuple(node.text or "" for node in root.findall("deprecation")),
        fake_reboot=fake_reboot is not None,
        agent_timeout=int(timeout) if timeout else -2,
        namespaces=tuple(str(node.tag) for node in root.findall("namespaces/*")),
        flags=" ".join(flag.get("name", "") for flag in root.findall("qemuCaps/flag")),
    )


def _refuse(root: etree._Element, domain: etree._Element) -> None:
    """Refuse what has no counterpart here.

    Raises:
        NotTaken: it is a container, or in the middle of a job.
    """
    if domain.get("type") not in QEMU_TYPES:
        raise NotTaken("no QEMU runs it, but a program of libvirt's, such as libvirt_lxc")
    job = root.find("job")
    if job is not None and job.get("async") not in NO_JOB:
        raise NotTaken(f"its job '{job.get('async')}' is under way; let it end first")
    jobs = root.find("blockjobs")
    if jobs is not None and (jobs.get("active") == "yes" or jobs.find("blockjob") is not None):
        raise NotTaken("a block job of it is under way; let it end, or abort it, first")
    if root.find("backups/domainbackup") is not None or root.find("domainbackup") is not None:
        raise NotTaken("its backup is under way; let it end first")
    monitor = root.find("monitor")
    if monitor is None or monitor.get("type") != "unix" or not monitor.get("path"):
        raise NotTaken("it has no monitor on a Unix socket")


def _live_domain(element: etree._Element) -> str:
    """Make the live XML of a status file's <domain>."""
    for private in list(element.iter("privateData")):
        if (parent := private.getparent()) is not None and not _is_metadata(private):
            parent.remove(private)
    for graphics in element.findall("devices/graphics"):
        if graphics.get("websocketGenerated") == "no":
            del graphics.attrib["websocketGenerated"]
    for interface in element.findall("devices/interface"):
        actual = interface.find("actual")
        if actual is not None:
            interface.remove(actual)
            _attach(interface, actual)
    return etree.tostring(element, encoding="unicode", with_tail=False)


def _is_metadata(element: etree._Element) -> bool:
    return any(parent.tag == "metadata" for parent in element.iterancestors())


def _attach(interface: etree._Element, actual: etree._Element) -> None:
    """Write what an interface on a network was attached to as the live XML has it."""
    interface.set("type", actual.get("type", "network"))
    for name in ("managed", "trustGuestRxFilters"):
        if (value := actual.get(name)) is not None:
            interface.set(name, value)
    source, chosen = interface.find("source"), actual.find("source")
    if source is not None and chosen is not None:
        for name in CHOSEN:
            if (value := chosen.get(name)) is not None:
                source.set(name, value)
        source.extend(list(chosen))
    for tag in FROM_NETWORK:
        found = actual.find(tag)
        if found is not None:
            for previous in interface.findall(tag):
                interface.remove(previous)
            interface.append(found)
