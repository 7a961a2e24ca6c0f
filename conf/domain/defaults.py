"""Defaults of a QEMU domain, as libvirt 9.0 fills them in (virDomainDefPostParse).

Owns: the values that the XML leaves open, devices apart; the order of completion.
May touch: the domain it is given, which it changes in place.
May not touch: the host, files, the emulator; what devices get is `conf.domain.devices.defaults`,
what is refused `conf.domain.validate.domain`.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable

from conf.domain.addresses.assign import assign_addresses
from conf.domain.cpu_defaults import complete_cpu
from conf.domain.devices.chardev_defaults import show_console_address
from conf.domain.devices.defaults import complete_devices
from conf.domain.general_defaults import (
    complete_clock,
    complete_features,
    complete_memory,
    complete_seclabels,
    complete_tuning,
    complete_vcpus,
)
from conf.domain.model import Domain
from conf.domain.os_defaults import complete_boot, complete_os
from conf.domain.validate.controllers import check_cells_of_bridges, check_roots
from conf.domain.validate.devices import check_zpci
from conf.domain.validate.domain import check_completed, check_tseg
from conf.domain.validate.firmware import check_firmware_features
from conf.domain.validate.hostdevs import check_hostdev_addresses
from conf.emulator import EmulatorFacts


def new_uuid() -> str:
    """Generate a random UUID."""
    return str(uuids.uuid4())


def complete(
    domain: Domain,
    facts: EmulatorFacts,
    *,
    make_uuid: Callable[[], str] = new_uuid,
    spice_tls: bool = False,
    validate: bool = True,
) -> Domain:
    """Fill in the defaults, assign addresses, and check the result. Idempotent.

    Args:
        domain: as parsed; changed in place and returned.
        facts: of the emulator that `conf.domain.architectures` chose.
        make_uuid: gives fresh UUIDs.
        spice_tls: whether qemu.conf switches TLS on for SPICE.
        validate: whether the result is checked; what is only kept need not start.

    Raises:
        ConfError: the domain cannot be, or not with this emulator.
    """
    complete_general(domain, facts, make_uuid=make_uuid)
    check_firmware_features(domain.os)
    check_tseg(domain)
    check_roots(domain)
    check_cells_of_bridges(domain)
    check_zpci(domain)
    check_hostdev_addresses(domain)
    complete_devices(domain, facts)
    for interface in domain.devices.interfaces:
        if interface.virtualport is not None:
            interface.virtualport.complete(make_uuid)
    complete_memory(domain)
    complete_boot(domain)
    assign_addresses(domain, facts)
    show_console_address(domain.devices)
    if validate:
        check_completed(domain, facts, spice_tls=spice_tls)
    return domain


def complete_general(
    domain: Domain, facts: EmulatorFacts, *, make_uuid: Callable[[], str] = new_uuid
) -> Domain:
    """Fill in the defaults outside <devices>."""
    domain.uuid = domain.uuid or make_uuid()
    if domain.genid == "":
        domain.genid = make_uuid()
    complete_os(domain, facts)
    domain.on_poweroff = domain.on_poweroff or "destroy"
    domain.on_reboot = domain.on_reboot or "restart"
    domain.on_crash = domain.on_crash or "destroy"
    complete_vcpus(domain)
    complete_tuning(domain)
    complete_seclabels(domain)
    complete_features(domain)
    complete_clock(domain)
    complete_cpu(domain, facts)
    return domain
