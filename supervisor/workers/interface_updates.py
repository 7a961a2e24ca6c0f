"""Changing a card of a running guest: its link, its limits, its filter, what it is plugged into.

Owns: which changes a running guest takes. May touch: netd over the bus.
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
from supervisor.workers.interfaces import PLUGGED
from supervisor.workers.running_guest import RunningGuest

LIVE: Final = Mode(live=True, secure=True)
NETD_S: Final = 15.0
R = TypeVar("R")
#: What of a card may be another while the guest runs.
CHANGEABLE: Final = ("link_state", "bandwidth", "source", "filterref", "virtualport", "vlan")
GIVEN: Final = (
    *("target_dev", "alias", "address", "model", "boot_order", "mtu", "type"),
    "guest_actual",
)


async def update_card(
    guest: RunningGuest,
    former: Interface,
    changed: Interface,
    set_link: Callable[[bool], Awaitable[None]],
) -> None:
    """Change a card as a document says.

    Args:
        guest: whose it is.
        former: as it is; it says afterwards what it has become.
        changed: as it is to be; what it leaves open stays.
        set_link: does the guest's side of a link that comes up or goes down.

    Raises:
        ConfError: "operation_unsupported" for what cannot change now.
        VirError: netd or the guest's side refuses.
    """
    wanted = replace(changed, **{name: getattr(former, name) for name in GIVEN})
    wanted.mac_element = former.mac_element
    for field in former.__dataclass_fields__:
        same = getattr(former, field) == getattr(wanted, field)
        if not same and field not in CHANGEABLE and getattr(wanted, field) not in (None, []):
            detail = f"cannot modify {field.replace('_', ' ')} of network device {former.mac}"
            raise ConfError("operation_unsupported", f"{detail} while the guest runs")
    if former.type in PLUGGED:
        await _replug(guest, former, wanted)
    if wanted.link_state != former.link_state:
        up = wanted.link_state != "down"
        await set_link(up)
        if former.type in PLUGGED:
            tap = former.target_dev or ""
            await _netd(guest, SetLink(uuid=guest.status.uuid, tap=tap, up=up))
        former.link_state = wanted.link_state


async def _replug(guest: RunningGuest, former: Interface, wanted: Interface) -> None:
    tap = former.target_dev or ""
    moved = {"network", "bridge", "dev", "portgroup"}
    source, before = wanted.source, former.source
    elsewhere = source is not None and any(
        getattr(source, name) not in (None, getattr(before, name, None)) for name in moved
    )
    if elsewhere or wanted.filterref != former.filterref:
        request = UpdatePort(uuid=guest.status.uuid, tap=tap, interface=write(wanted, LIVE))
        plugged = await _netd(guest, request)
        answer = parse(Interface, plugged.interface)
        former.source, former.filterref = answer.source, answer.filterref
        former.virtualport, former.vlan = answer.virtualport, answer.vlan
    if wanted.bandwidth != former.bandwidth:
        text = write(wanted.bandwidth, LIVE) if wanted.bandwidth is not None else ""
        await _netd(guest, SetBandwidth(uuid=guest.status.uuid, tap=tap, bandwidth=text))
        former.bandwidth = wanted.bandwidth


async def _netd(guest: RunningGuest, request: Request[R]) -> R:
    try:
        return await guest.context.node.link("netd").call(request, timeout_s=NETD_S)
    except BusError as error:
        detail = f"the network service does not answer for '{guest.name}': {error}"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, guest.context.error_domain) from error
