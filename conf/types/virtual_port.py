"""<virtualport>: how a switch (802.1Qbg, 802.1Qbh, Open vSwitch, MidoNet) treats an interface.

Source: libvirt 9.0 formatnetwork, "Using an openvswitch bridge" and "802.1Qbh"; formatdomain.
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.mapper import attribute, element


@element("virtualport")
@dataclass(slots=True, kw_only=True)
class VirtualPort:
    """<virtualport>; which parameters count depends on the type."""

    type: str | None = attribute("@type")
    managerid: str | None = attribute("parameters/@managerid")
    typeid: str | None = attribute("parameters/@typeid")
    typeidversion: str | None = attribute("parameters/@typeidversion")
    instanceid: str | None = attribute("parameters/@instanceid")
    interfaceid: str | None = attribute("parameters/@interfaceid")
    profileid: str | None = attribute("parameters/@profileid", empty_is_absent=True)
