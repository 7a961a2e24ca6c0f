"""virDomainGetInterfaceParameters and virDomainSetInterfaceParameters: an interface's bandwidth.

Owns: one method per procedure, named as in the table.
May touch: definitions and running guests, through `change_domain`.
Source: libvirt 9.0 virDomainSetInterfaceParameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from conf.domain import Domain
from conf.domain.devices.interface import Interface
from conf.mapper import Mode, write
from conf.types.bandwidth import Bandwidth, Rate
from rpc.params import UInt, declared, params, read_params
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition
from supervisor.domd.registry import DomainRegistry
from supervisor.drivers.driver import TYPED_STRINGS
from supervisor.messages.worker import UpdateDevice
from supervisor.objects.impact import IMPACT_FLAGS, select_for_query

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
    """The two calls."""

    def __init__(self, registry: DomainRegistry, changer: DomainChanger) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._changer = changer

    def domain_get_interface_parameters(
        self, call: ClientCall, dom: DomainId, device: str, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return an interface's bandwidth limits in kilobytes a second; 0 means unlimited.

        Raises:
            VirError: INVALID_ARG: the domain has no such interface.
        """
        self._errors.check_flags(
            "DomainGetInterfaceParameters", flags, IMPACT_FLAGS | TYPED_STRINGS
        )
        domain = self._registry.find(dom)
        interface = interface_of(select_for_query(domain, flags).domain, device, self._errors)
        if nparams == 0:
            return [], len(FIELDS)
        values = {field: UInt(read_limit(interface, *place)) for field, place in FIELDS.items()}
        limits = params(values)[:nparams]
        return limits, len(limits)

    async def domain_set_interface_parameters(
        self, call: ClientCall, dom: DomainId, device: str, params: list[TypedParam], flags: int
    ) -> None:
        """Set an interface's bandwidth limits (`with_limits`).

        Raises:
            VirError: INVALID_ARG: no such interface or parameter; OPERATION_INVALID.
        """
        self._errors.check_flags("DomainSetInterfaceParameters", flags, IMPACT_FLAGS)
        values = read_params(params, declared(*FIELDS))
        limits = {FIELDS[field]: int(given[-1]) for field, given in values.items()}

        def edit(domain: Domain) -> None:
            interface = interface_of(domain, device, self._errors)
            interface.bandwidth = with_limits(interface.bandwidth, limits)

        def live_request(live: Definition) -> UpdateDevice:
            # The running guest's interface can differ from the defined one in everything else.
            interface = interface_of(live.domain, device, self._errors)
            changed = replace(interface, bandwidth=with_limits(interface.bandwidth, limits))
            return UpdateDevice(xml=write(changed, Mode(live=True, secure=True)))

        change = DomainChange(name="interface parameters", edit=edit, live_request=live_request)
        await self._changer.change_domain(dom, flags, change)


def interface_of(domain: Domain, device: str, errors: ServiceErrors) -> Interface:
    """Find an interface by its MAC address or its host device's name.

    Raises:
        VirError: INVALID_ARG.
    """
    for interface in domain.devices.interfaces:
        if device.lower() in ((interface.mac or "").lower(), interface.target_dev):
            return interface
    detail = f"Can't find device {device}"
    raise errors.invalid_arg(detail)


def read_limit(interface: Interface, side: str, name: str) -> int:
    """Return one number of an interface's bandwidth; 0 when it has none."""
    rate: Rate | None = getattr(interface.bandwidth, side, None)
    return getattr(rate, name, None) or 0


def with_limits(
    bandwidth: Bandwidth | None, limits: Mapping[tuple[str, str], int]
) -> Bandwidth | None:
    """Return the bandwidth with these limits; None when none is left.

    As in libvirt, a direction whose average or floor is given has what is given and nothing else:
    an average alone ends a peak, and one of 0 ends the limit. A peak or burst alone is ignored.
    """
    sides: dict[str, Rate | None] = {}
    for side in ("inbound", "outbound"):
        given = {name: value or None for (where, name), value in limits.items() if where == side}
        if given.keys() & {"average", "floor"}:
            rate = Rate(**given)
            sides[side] = rate if rate.average or rate.floor else None
        else:
            sides[side] = getattr(bandwidth, side, None)
    if sides["inbound"] is None and sides["outbound"] is None:
        return None
    return Bandwidth(inbound=sides["inbound"], outbound=sides["outbound"])
