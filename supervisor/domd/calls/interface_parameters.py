"""domd's calls for the traffic limits of a domain's network cards.

Owns: one method per procedure, named as in the table.
May touch: definitions; guests, through the changes of devices (`supervisor.domd.calls.device`).
Source: libvirt 9.0 virDomainSetInterfaceParameters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conf.domain import Domain
from conf.domain.devices.interface import Bandwidth, Interface, Rate
from conf.mapper import Mode, write
from rpc.enums import DomainModificationImpact as Impact
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import UInt, declared, params, read_params
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.device import DeviceCalls
from supervisor.domd.calls.metadata import targets
from supervisor.domd.calls.query import definition_for
from supervisor.domd.registry import Registry
from supervisor.domd.service_errors import refuse_both_impacts, refuse_flags

IMPACT: Final = Impact.LIVE | Impact.CONFIG
TYPED_STRINGS: Final = 1 << 2  # VIR_TYPED_PARAM_STRING_OKAY
FIELDS: Final = {
    "inbound.average": ("inbound", "average"),
    "inbound.peak": ("inbound", "peak"),
    "inbound.burst": ("inbound", "burst"),
    "inbound.floor": ("inbound", "floor"),
    "outbound.average": ("outbound", "average"),
    "outbound.peak": ("outbound", "peak"),
    "outbound.burst": ("outbound", "burst"),
}


class InterfaceParameterCalls:
    """What clients may ask and say of cards' traffic."""

    def __init__(self, registry: Registry, devices: DeviceCalls) -> None:
        """Change cards by these."""
        self._registry = registry
        self._devices = devices

    def domain_get_interface_parameters(
        self, call: ClientCall, dom: DomainId, device: str, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """A card's limits, in kilobytes a second; 0 for none.

        Raises:
            VirError: INVALID_ARG: the domain has no such card.
        """
        refuse_flags("qemuDomainGetInterfaceParameters", flags, IMPACT | TYPED_STRINGS)
        refuse_both_impacts(flags)
        entry = self._registry.find(dom)
        card = interface_of(definition_for(entry, flags).domain, device)
        if nparams == 0:
            return [], len(FIELDS)
        values = {field: UInt(read_limit(card, *place)) for field, place in FIELDS.items()}
        found = params(values)[:nparams]
        return found, len(found)

    async def domain_set_interface_parameters(
        self, call: ClientCall, dom: DomainId, device: str, params: list[TypedParam], flags: int
    ) -> None:
        """Limit a card's traffic; an average of 0 takes that side's limit away.

        Raises:
            VirError: INVALID_ARG: no such card or parameter; OPERATION_INVALID.
        """
        refuse_flags("qemuDomainSetInterfaceParameters", flags, IMPACT)
        given = read_params(params, declared(*FIELDS))
        wanted = {FIELDS[field]: int(values[-1]) for field, values in given.items()}
        entry = self._registry.find(dom)
        live, config = targets(entry, flags)
        # Each is a change of the card of its own: what it is otherwise may differ.
        for definition, impact in ((config, Impact.CONFIG), (live, Impact.LIVE)):
            if definition is not None:
                card = interface_of(definition.domain, device)
                changed = replace(card, bandwidth=with_limits(card.bandwidth, wanted))
                xml = write(changed, Mode(live=impact is Impact.LIVE, secure=True))
                await self._devices.domain_update_device_flags(call, dom, xml, impact)


def interface_of(domain: Domain, device: str) -> Interface:
    """The card of a MAC address or of a device of the host's.

    Raises:
        VirError: INVALID_ARG.
    """
    for card in domain.devices.interfaces:
        if device.lower() in ((card.mac or "").lower(), card.target_dev):
            return card
    detail = f"Can't find device {device}"
    raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)


def read_limit(card: Interface, side: str, name: str) -> int:
    """One number of a card's limits."""
    rate: Rate | None = getattr(card.bandwidth, side, None)
    return getattr(rate, name, None) or 0


def with_limits(
    bandwidth: Bandwidth | None, wanted: dict[tuple[str, str], int]
) -> Bandwidth | None:
    """Limits with these numbers changed; None when none is left."""
    sides: dict[str, Rate | None] = {}
    for side in ("inbound", "outbound"):
        rate: Rate | None = getattr(bandwidth, side, None)
        numbers = {name: value or None for (its, name), value in wanted.items() if its == side}
        if numbers:
            rate = replace(rate or Rate(), **numbers)
        sides[side] = rate if rate is not None and (rate.average or rate.floor) else None
    if sides["inbound"] is None and sides["outbound"] is None:
        return None
    return Bandwidth(inbound=sides["inbound"], outbound=sides["outbound"])
