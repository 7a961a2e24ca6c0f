"""<nvram>: a pSeries guest's settings.

Source: libvirt 9.0 formatdomain, "NVRAM device".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.mapper import attribute, child, element


@element("nvram")
@dataclass(slots=True, kw_only=True)
class NvramDevice:
    """<nvram> of pSeries."""

    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
