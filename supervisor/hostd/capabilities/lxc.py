"""<capabilities> and <domainCapabilities> of the LXC driver. Pure.

Owns: these XMLs (libvirt 9.0 formatcaps, formatdomaincaps).
May not touch: files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from conf.domain.lxc.defaults import EMULATOR
from rpc.errors import ErrorCode
from supervisor.drivers.lxc import LXC
from supervisor.hostd.capabilities.domain import enum, supported
from supervisor.hostd.capabilities.host import (
    WORD_SIZE,
    HostPlatform,
    platform_parts,
    secmodel_part,
)
from supervisor.hostd.capabilities.xml_writer import Element, group, text, write

#: 32-bit architectures whose programs a 64-bit kernel runs.
COMPAT_ARCHS: Final = {"x86_64": ("i686",)}
TYPE: Final = LXC.name  # of <domain type=…>
_RELEASE: Final = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class ContainerHost:
    """Input of <capabilities>."""

    uuid: str
    arch: str
    platform: HostPlatform


def write_capabilities(host: ContainerHost) -> str:
    """Write <capabilities>."""
    machine = group(
        "host",
        text("uuid", host.uuid),
        group("cpu", text("arch", host.arch)),
        *platform_parts(host.platform),
        secmodel_part(),
    )
    return write(group("capabilities", machine, *map(_guest, supported_archs(host.arch))))


def supported_archs(arch: str) -> tuple[str, ...]:
    """Return the architectures of the host's containers, its own first."""
    return (arch, *COMPAT_ARCHS.get(arch, ()))


def _guest(arch: str) -> Element:
    return group(
        "guest",
        text("os_type", "exe"),
        group(
            "arch",
            text("wordsize", WORD_SIZE.get(arch, 32)),
            text("emulator", EMULATOR),
            group("domain", type=TYPE),
            name=arch,
        ),
    )


def write_domain_capabilities(
    host_arch: str, *, emulator: str | None, arch: str | None, virt_type: str | None
) -> str:
    """Write <domainCapabilities>.

    Args:
        host_arch: the host's architecture.
        emulator: the client's argument; None: any.
        arch: likewise.
        virt_type: likewise.

    Raises:
        VirError: INVALID_ARG for a value that containers do not have.
    """
    for requested, supported_values, attribute in (
        (virt_type, (TYPE,), "virt type"),
        (emulator, (EMULATOR,), "emulator"),
        (arch, supported_archs(host_arch), "architecture"),
    ):
        if requested is not None and requested not in supported_values:
            choices = " or ".join(supported_values)
            detail = f"unsupported {attribute} '{requested}'; containers have {choices}"
            raise LXC.errors.invalid_arg(detail)
    return write(
        group(
            "domainCapabilities",
            text("path", EMULATOR),
            text("domain", TYPE),
            text("arch", arch or host_arch),
            group(
                "devices",
                supported("disk", enum("diskDevice", ["disk"]), on=True),
                supported("graphics", on=False),
                supported("video", on=False),
                supported(
                    "hostdev",
                    enum("mode", ["capabilities", "subsystem"]),
                    enum("startupPolicy", ["default", "mandatory", "requisite", "optional"]),
                    enum("subsysType", ["usb"]),
                    enum("capsType", ["storage", "misc", "net"]),
                    on=True,
                ),
                supported("filesystem", enum("driverType", ["path", "loop"]), on=True),
            ),
        )
    )


def kernel_version(release: str) -> int:
    """Convert a kernel release to a version number: 1000000 * major + 1000 * minor + micro.

    Raises:
        VirError: INTERNAL_ERROR when it does not begin with a number.
    """
    match = _RELEASE.match(release)
    if match is None:
        detail = f"Unknown release: {release}"
        raise LXC.errors.error(ErrorCode.INTERNAL_ERROR, detail)
    major, minor, micro = (int(part or 0) for part in match.groups())
    return major * 1_000_000 + minor * 1000 + min(micro, 999)
