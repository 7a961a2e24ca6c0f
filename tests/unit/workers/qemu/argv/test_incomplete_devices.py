"""An incomplete device XML becomes a command line or a ConfError, never another exception."""

from __future__ import annotations

import contextlib
from typing import Final

import pytest

from conf.domain import parse_domain
from conf.domain.defaults import complete
from conf.domain.device_xml import KINDS
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch import plan_launch
from supervisor.workers.qemu.start.unsupported import check_supported
from tests.unit.workers.qemu.argv.argv_plan import runtime

MACHINES: Final = ("pc", "q35")
#: Elements without their parts, as clients and tutorials have them by mistake.
INCOMPLETE: Final = (
    *(f"<{tag}/>" for tag in KINDS),
    *(f"<{tag}><source/></{tag}>" for tag in KINDS),
    "<sound model='virtio'/>", "<sound model='ich7'/>", "<rng model='virtio'/>",
    "<rng model='virtio'><backend/></rng>", "<rng model='bogus'><backend model='random'/></rng>",
    "<tpm><backend/></tpm>",
    "<input type='passthrough' bus='usb'/>", "<input type='evdev'/>", "<input bus='usb'/>",
    "<watchdog model='diag288'/>", "<watchdog model='i6300esb'/>", "<video><model/></video>",
    "<sound model='ich6'><codec/></sound>", "<hostdev type='pci'/>", "<hostdev mode='subsystem'/>",
    "<hostdev mode='subsystem' type='pci'><source/></hostdev>", "<memory model='dimm'/>",
    "<disk><target/></disk>", "<disk device='lun'><target dev='sda'/></disk>",
    "<iommu/>", "<nvram/>", "<audio/>", "<redirfilter/>", "<controller type='pci' model='bogus'/>",
    "<controller type='scsi' model='bogus'/>", "<channel type='pty'><target/></channel>",
    "<graphics type='rdp'/>", "<graphics type='desktop'/>", "<interface type='internal'/>",
    "<interface type='hostdev'><source/></interface>", "<filesystem type='volume'/>",
    "<panic model='bogus'/>", "<panic model='pseries'/>", "<smartcard mode='host-certificates'/>",
)  # fmt: skip


def plan(device: str, machine: str, facts: EmulatorFacts) -> None:
    """Define a domain with the device, and plan its start."""
    domain = parse_domain(
        "<domain type='qemu'><name>a</name><memory>65536</memory>"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
        f"<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{device}</devices></domain>"
    )
    complete(domain, facts)
    check_supported(domain)
    assign_aliases(domain)
    plan_launch(domain, facts, runtime(domain))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("device", INCOMPLETE)
def test_incomplete_device_is_planned_or_refused(
    device: str, machine: str, emulator_facts: EmulatorFacts
) -> None:
    with contextlib.suppress(ConfError):
        plan(device, machine, emulator_facts)
