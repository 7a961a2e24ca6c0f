"""The cookie of a save image: what QEMU needs to know of the machine beyond its definition.

Owns: reading and writing it. Pure.
Source: libvirt 9.0, qemuDomainSaveCookieParse: <cpu>, where starting the guest has made another one
of the definition's; <slirpHelper/> says how the saving daemon ran a user network, not the guest.
"""

from __future__ import annotations

from conf.domain.cpu import Cpu
from conf.errors import ConfError
from conf.mapper import Mode, read, write
from conf.mapper.safe_parse import parse_tree


def write_cookie(cpu: Cpu | None) -> str:
    """Write the cookie of a guest.

    Args:
        cpu: the processor that it runs with; None: its definition's.
    """
    inside = write(cpu, Mode(), level=1).rstrip("\n") + "\n" if cpu is not None else ""
    return f"<cookie>\n{inside}</cookie>\n"


def read_cookie_cpu(cookie: str) -> Cpu | None:
    """Read the processor that the guest was running with; None: its definition's.

    Raises:
        ConfError: the cookie is none.
    """
    if not cookie.strip():
        return None
    root = parse_tree(cookie)
    if root.tag != "cookie":
        raise ConfError("xml", f"expecting root element of 'cookie', not '{root.tag}'")
    cpu = root.find("cpu")
    return read(Cpu, cpu) if cpu is not None else None
