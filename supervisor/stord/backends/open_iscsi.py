"""open-iscsi: what iscsiadm is told, and what it and the kernel say. Pure.

Owns: argument lists and the reading of answers. May not touch: devices, files.
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
    """A server as iscsiadm names it."""
    name = host.name or ""
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return f"{name}:{host.port or PORT}"


def plan_sessions() -> list[str]:
    """Ask which targets are logged into."""
    return ["iscsiadm", "--mode", "session"]


def plan_discovery(portal: str, interface: str = "") -> list[str]:
    """Ask a server for its targets, and remember them."""
    argv = ["iscsiadm", "--mode", "discovery", "--type", "sendtargets", "--portal", portal]
    return [*argv, "--interface", interface] if interface else argv


def plan_node(portal: str, target: str, *options: str) -> list[str]:
    """Do something with a target that is remembered."""
    return ["iscsiadm", "--mode", "node", "--portal", portal, "--targetname", target, *options]


def plan_manual(portal: str, target: str) -> list[str]:
    """Have a target logged into by us alone, not at the host's start."""
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
    """Look for units that came or went."""
    return ["iscsiadm", "--mode", "session", "-r", session, "--rescan"]


def plan_interface(name: str, initiator: str) -> list[list[str]]:
    """Make an interface that speaks for an initiator."""
    interface = ["iscsiadm", "--mode", "iface", "--interface", name]
    update = ["--op", "update", "--name", "iface.initiatorname", "--value", initiator]
    return [[*interface, "--op", "new"], [*interface, *update]]


def interface_name(initiator: str) -> str:
    """What the interface of an initiator is called."""
    return "libvirt-iface-" + "".join(f"{byte:02x}" for byte in initiator.encode()[-8:])


def read_session(text: str, target: str) -> str:
    """The number of the session with a target; empty where there is none."""
    for number, _, name in _SESSION.findall(text):
        if name == target:
            return str(number)
    return ""


def read_targets(text: str, host: PoolHost) -> list[PoolSource]:
    """The targets that a server has."""
    names = dict.fromkeys(name for _, name in _TARGET.findall(text))
    return [PoolSource(hosts=[host], devices=[PoolDevice(path=name)]) for name in names]


def lun(link: str, target: str) -> int | None:
    """The unit that a name in /dev/disk/by-path stands for; None for other things."""
    match = _LUN.search(link)
    return int(match[1]) if match and f"-iscsi-{target}-lun-" in link else None


def with_chap(record: str, user: str, password: str) -> str:
    """A node's record with CHAP; what it said of it before goes."""
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
