"""<tpm>: a trusted platform module.

Source: libvirt 9.0 formatdomain, "TPM device".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.errors import ConfError
from conf.mapper import attribute, child, children, element
from conf.types.bool import yes_no
from conf.types.enum import one_of

#: What libvirt knows as the other end of a character device.
SOURCE_TYPES: Final = (
    "null", "vc", "pty", "dev", "file", "pipe", "stdio", "udp", "tcp", "unix", "spicevmc",
    "spiceport", "nmdm", "qemu-vdagent", "dbus",
)  # fmt: skip


@element("backend")
@dataclass(slots=True, kw_only=True)
class TpmBackend:
    """<backend>."""

    type: str = attribute("@type", read=one_of("passthrough", "emulator", "external"), default="")
    version: str | None = attribute("@version", read=one_of("1.2", "2.0"))
    persistent_state: bool | None = attribute("@persistent_state", read=yes_no)
    path: str | None = attribute("device/@path", empty_is_absent=True)
    encryption: str | None = attribute("encryption/@secret")
    source_type: str | None = attribute("source/@type")
    source_mode: str | None = attribute("source/@mode")
    source_path: str | None = attribute("source/@path")

    def check_source(self) -> None:
        """Check the socket of an external one, to which QEMU connects.

        Raises:
            ConfError: "xml", "config_unsupported".
        """
        kind, detail = "xml", ""
        if not self.source_type:
            detail = "missing external TPM backend type"
        elif self.source_type not in SOURCE_TYPES:
            kind = "config_unsupported"
            detail = f"unknown backend type '{self.source_type}' for external TPM"
        elif self.source_type != "unix":
            detail = "only source type 'unix' is supported for external TPM device"
        elif self.source_path is None:
            detail = "missing socket path for external TPM device"
        elif self.source_mode not in (None, "connect"):
            detail = "only 'client' mode is supported for external TPM device"
        if detail:
            raise ConfError(kind, detail, "tpm/backend/source")
        self.source_mode = "connect"


@element("tpm")
@dataclass(slots=True, kw_only=True)
class Tpm:
    """<tpm>."""

    model: str | None = attribute(
        "@model", read=one_of("tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy")
    )
    backends: list[TpmBackend] = children("backend", TpmBackend)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    def after_read(self) -> None:
        """Check that there is one backend, and that it has a type.

        Raises:
            ConfError: "xml".
        """
        if len(self.backends) > 1:
            raise ConfError("xml", "only one TPM backend is supported", "tpm/backend")
        if not self.backends:
            raise ConfError("xml", "missing TPM device backend", "tpm")
        if not self.backend.type:
            raise ConfError("xml", "missing TPM device backend type", "tpm/backend/@type")
        if self.backend.type == "external":
            self.backend.check_source()
        else:
            self.backend.source_type = self.backend.source_mode = self.backend.source_path = None
        if self.backend.type == "passthrough":
            self.backend.path = self.backend.path or "/dev/tpm0"

    @property
    def backend(self) -> TpmBackend:
        """The one backend."""
        return self.backends[0]
