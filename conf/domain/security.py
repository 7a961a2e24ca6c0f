"""<seclabel>: how the host keeps a guest and its files apart from others.

Source: libvirt 9.0 formatdomain, "Security label".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.words import one_of, yes_no
from conf.mapper import attribute, element, text


@element("seclabel")
@dataclass(slots=True, kw_only=True)
class Seclabel:
    """<seclabel> of a domain."""

    type: str | None = attribute("@type", read=one_of("dynamic", "static", "none"))
    model: str | None = attribute("@model")
    relabel: bool | None = attribute("@relabel", read=yes_no)
    label: str | None = text("label")
    imagelabel: str | None = text("imagelabel", only="live")
    baselabel: str | None = text("baselabel")
