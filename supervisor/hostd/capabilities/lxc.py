"""What clients of `lxc:///` are told of the host: its containers need no emulator.

Owns: the documents' shape (libvirt 9.0 formatcaps, formatdomaincaps). Pure.
May not touch: files; everything that is said is handed in.
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

#: Architectures besides its own that a host's kernel runs.
COMPAT_ARCHS: Final = {"x86_64": ("i686",)}
TYPE: Final = LXC.name  # of <domain type=…>
_RELEASE: Final = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class ContainerHost:
    """The host as containers find it."""

    uuid: str
    arch: str
    platform: HostPlatform


def write_capabilities(host: ContainerHost) -> str:
    """Write what the host is and what containers it runs."""
    machine = group(
        "host",
        text("uuid", host.uuid),
        group("cpu", text("arch", host.arch)),
        *platform_parts(host.platform),
        secmodel_part(),
    )
    return write(group("capabilities", machine, *map(_guest, supported_archs(host.arch))))


def supported_archs(arch: str) -> tuple[str, ...]:
    """The architectures whose containers a host runs, its own first."""
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
    """Write what a container's document may ask for.

    Args:
        host_arch: the host's architecture.
        emulator: the one that a client asks about; None: any.
        arch: likewise.
        virt_type: likewise.

    Raises:
        VirError: INVALID_ARG when that is none of containers'.
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
    """A kernel's release as a version: 1000000 a major, 1000 a minor number.

    Raises:
        VirError: INTERNAL_ERROR when it does not begin with a number.
    """
    match = _RELEASE.match(release)
    if match is None:
        detail = f"Unknown release: {release}"
        raise LXC.errors.error(ErrorCode.INTERNAL_ERROR, detail)
    major, minor, micro = (int(part or 0) for part in match.groups())
    return major * 1_000_000 + minor * 1000 + min(micro, 999)
