"""<tpm>: a trusted platform module.

Source: libvirt 9.0 formatdomain, "TPM device".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.mapper import attribute, child, element
from conf.types.bool import yes_no
from conf.types.enum import one_of


@element("backend")
@dataclass(slots=True, kw_only=True)
class TpmBackend:
    """<backend>."""

    type: str = attribute("@type", read=one_of("passthrough", "emulator", "external"), default="")
    version: str | None = attribute("@version", read=one_of("1.2", "2.0"))
    persistent_state: bool | None = attribute("@persistent_state", read=yes_no)
    path: str | None = attribute("device/@path")
    encryption: str | None = attribute("encryption/@secret")
    source_type: str | None = attribute("source/@type")
    source_path: str | None = attribute("source/@path")


@element("tpm")
@dataclass(slots=True, kw_only=True)
class Tpm:
    """<tpm>."""

    model: str | None = attribute(
        "@model", read=one_of("tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy")
    )
    backend: TpmBackend = child("backend", TpmBackend)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None
