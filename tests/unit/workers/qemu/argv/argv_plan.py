"""Plans a recorded document the way stock's domainXMLToNative did."""

from __future__ import annotations

import re

from conf.domain import Domain, parse_domain
from conf.domain.addresses.assign import assign_addresses
from conf.domain.devices.interface import Interface
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch import plan_launch
from supervisor.workers.qemu.argv.launch_inputs import Launch, LaunchInputs
from supervisor.workers.qemu.argv.secret_encryption import encryptor
from tests.qemu_binary import facts
from tests.unit.workers.qemu.argv.argv_corpus import Case

GENERATED = "00000000-0000-4000-8000-000000000000"
LIB = "/var/lib/libvirt/qemu"


def plan(case: Case) -> Launch:
    """Plan the document."""
    domain = parse_domain(case.document.replace("@UUID@", GENERATED))
    _make_interfaces_ethernet(domain)
    _choose_ports(domain, " ".join(case.argv))
    emulator = facts(domain.devices.emulator or "")
    assign_addresses(domain, emulator)
    assign_aliases(domain)
    return plan_launch(domain, emulator, runtime(domain))


def runtime(domain: Domain) -> LaunchInputs:
    """What the worker would bring, with the recorded run's id of -1."""
    name = domain.name[:20]
    interfaces = domain.devices.interfaces
    return LaunchInputs(
        id=-1,
        domain_dir=f"{LIB}/domain--1-{name}",
        channel_dir=f"{LIB}/channel/target/domain--1-{name}",
        memory_dir=f"{LIB}/ram/-1-{name}",
        tap_fds={item.alias or "": (30 + number,) for number, item in enumerate(interfaces)},
        vsock_fd=-1,
        encrypt=encryptor(bytes(32)),
        now=1_700_000_000.0,
    )


def _make_interfaces_ethernet(domain: Domain) -> None:
    domain.devices.interfaces = [
        Interface(
            type="ethernet",
            mac_element=interface.mac_element,
            model=interface.model,
            boot_order=interface.boot_order,
        )
        for interface in domain.devices.interfaces
    ]


def _choose_ports(domain: Domain, argv: str) -> None:
    vnc = re.search(r"-vnc \S*?:(\d+)", argv)
    spice = re.search(r"-spice port=(\d+)", argv)
    for graphics in domain.devices.graphics:
        if graphics.port in (None, -1):
            if graphics.type == "vnc" and vnc:
                graphics.port = 5900 + int(vnc[1])
            elif graphics.type == "spice" and spice:
                graphics.port = int(spice[1]) or None
