"""iscsiadm command lines and output. Pure.

Owns: argument lists and parsing of output. May not touch: devices, files.
Source: iscsiadm(8); libvirt 9.0's behaviour for pools of type iscsi.
"""

from __future__ import annotations

import re
from typing import Final

from conf.storage.source import PoolDevice, PoolHost, PoolSource

PORT: Final = 3260
_SESSION: Final = re.compile(r"tcp: \[(\d+)\] (\S+) (\S+)")
_TARGET: Final = re.compile(r"(\S+?),-?\d+ (\S+)")
_LUN: Final = re.compile(r"-lun-(\d+)$")


def portal(host: PoolHost) -> str:
    """Return a host as iscsiadm's portal."""
    name = host.name or ""
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return f"{name}:{host.port or PORT}"


def plan_sessions() -> list[str]:
    """List the sessions."""
    return ["iscsiadm", "--mode", "session"]


def plan_discovery(portal: str, interface: str = "") -> list[str]:
    """Discover a server's targets; open-iscsi creates their node records."""
    argv = ["iscsiadm", "--mode", "discovery", "--type", "sendtargets", "--portal", portal]
    return [*argv, "--interface", interface] if interface else argv


def plan_node(portal: str, target: str, *options: str) -> list[str]:
    """Run an operation on a node record."""
    return ["iscsiadm", "--mode", "node", "--portal", portal, "--targetname", target, *options]


def plan_manual(portal: str, target: str) -> list[str]:
    """Set node.startup to manual: the host does not log in at boot."""
    options = ("--op", "update", "--name", "node.startup", "--value", "manual")
    return plan_node(portal, target, *options)


def plan_login(portal: str, target: str, interface: str = "") -> list[str]:
    """Log into a target."""
    options = ("--interface", interface) if interface else ()
    return plan_node(portal, target, *options, "--login")


def plan_logout(portal: str, target: str) -> list[str]:
    """Log out of a target."""
    return plan_node(portal, target, "--logout")


def plan_rescan(session: str) -> list[str]:
    """Rescan the LUNs of a session."""
    return ["iscsiadm", "--mode", "session", "-r", session, "--rescan"]


def plan_interface(name: str, initiator: str) -> list[list[str]]:
    """Create an interface with an initiator name."""
    interface = ["iscsiadm", "--mode", "iface", "--interface", name]
    update = ["--op", "update", "--name", "iface.initiatorname", "--value", initiator]
    return [[*interface, "--op", "new"], [*interface, *update]]


def interface_name(initiator: str) -> str:
    """Return the interface name of an initiator."""
    return "libvirt-iface-" + "".join(f"{byte:02x}" for byte in initiator.encode()[-8:])


def read_session(text: str, target: str) -> str:
    """Return the session id of a target; "" without a session."""
    for number, _, name in _SESSION.findall(text):
        if name == target:
            return str(number)
    return ""


def read_targets(text: str, host: PoolHost) -> list[PoolSource]:
    """Parse the targets of a discovery."""
    names = dict.fromkeys(name for _, name in _TARGET.findall(text))
    return [PoolSource(hosts=[host], devices=[PoolDevice(path=name)]) for name in names]


def lun(link: str, target: str) -> int | None:
    """Return the LUN of a name in /dev/disk/by-path; None for other devices."""
    match = _LUN.search(link)
    return int(match[1]) if match and f"-iscsi-{target}-lun-" in link else None


def with_chap(record: str, user: str, password: str) -> str:
    """Return a node record with CHAP credentials in place of earlier ones."""
    lines = [line for line in record.splitlines() if not line.startswith("node.session.auth.")]
    added = [
        "node.session.auth.authmethod = CHAP",
        f"node.session.auth.username = {user}",
        f"node.session.auth.password = {password}",
    ]
    end = next(
        (number for number, line in enumerate(lines) if line.startswith("# END RECORD")), len(lines)
    )
    return "\n".join([*lines[:end], *added, *lines[end:]]) + "\n"
