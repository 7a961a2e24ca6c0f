"""Updates an interface of a running domain: link state, bandwidth, filter, network or bridge.

Owns: which attributes can change. May touch: netd over the bus.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from conf.domain.devices.interface import Interface
from conf.errors import ConfError
from conf.mapper import Mode, parse, write
from ipc import BusError, Request
from rpc.errors import ErrorCode, VirError
from supervisor.messages.netd import SetBandwidth, SetLink, UpdatePort
from supervisor.workers.interfaces import NETD_TYPES
from supervisor.workers.running_guest import RunningGuest

LIVE: Final = Mode(live=True, secure=True)
R = TypeVar("R")
#: Attributes that can change while the guest runs.
CHANGEABLE: Final = ("link_state", "bandwidth", "source", "filterref", "virtualport", "vlan")
#: Attributes that the host or the guest has set; those of the update are ignored.
PRESERVED: Final = (
    *("target_dev", "alias", "address", "model", "boot_order", "mtu", "type"),
    "guest_actual",
)


async def update_interface(
    guest: RunningGuest,
    current: Interface,
    changed: Interface,
    set_link: Callable[[bool], Awaitable[None]],
) -> None:
    """Change an interface as the XML says.

    Args:
        guest: the running domain.
        current: of the live XML; it is updated in place.
        changed: of the client's XML; absent attributes stay.
        set_link: sets the guest's side of the link up or down.

    Raises:
        ConfError: "operation_unsupported": an attribute cannot change while the guest runs.
        VirError: netd or QEMU refuses.
    """
    updated = replace(changed, **{name: getattr(current, name) for name in PRESERVED})
    updated.mac_element = current.mac_element
    for field in current.__dataclass_fields__:
        same = getattr(current, field) == getattr(updated, field)
        if not same and field not in CHANGEABLE and getattr(updated, field) not in (None, []):
            detail = f"cannot modify {field.replace('_', ' ')} of network device {current.mac}"
            raise ConfError("operation_unsupported", f"{detail} while the guest runs")
    if current.type in NETD_TYPES:
        await _update_port(guest, current, updated)
    if updated.link_state != current.link_state:
        up = updated.link_state != "down"
        await set_link(up)
        if current.type in NETD_TYPES:
            tap = current.target_dev or ""
            await _call_netd(guest, SetLink(uuid=guest.status.uuid, tap=tap, up=up))
        current.link_state = updated.link_state


async def _update_port(guest: RunningGuest, current: Interface, updated: Interface) -> None:
    tap = current.target_dev or ""
    place_fields = {"network", "bridge", "dev", "portgroup"}
    source, before = updated.source, current.source
    moved = source is not None and any(
        getattr(source, name) not in (None, getattr(before, name, None)) for name in place_fields
    )
    if moved or updated.filterref != current.filterref or updated.vlan != current.vlan:
        updated.virtualport = updated.virtualport or current.virtualport  # absent, it stays
        request = UpdatePort(uuid=guest.status.uuid, tap=tap, interface=write(updated, LIVE))
        reply = await _call_netd(guest, request)
        attached = parse(Interface, reply.interface)
        current.source, current.filterref = attached.source, attached.filterref
        current.virtualport, current.vlan = attached.virtualport, attached.vlan
    if updated.bandwidth != current.bandwidth:
        text = write(updated.bandwidth, LIVE) if updated.bandwidth is not None else ""
        await _call_netd(guest, SetBandwidth(uuid=guest.status.uuid, tap=tap, bandwidth=text))
        current.bandwidth = updated.bandwidth


async def _call_netd(guest: RunningGuest, request: Request[R]) -> R:
    try:
        return await guest.context.node.link("netd").call(request)
    except BusError as error:
        detail = f"the network service does not answer for '{guest.name}': {error}"
        raise VirError(
            ErrorCode.OPERATION_FAILED, detail, guest.context.driver.error_domain
        ) from error
