"""What libvirt 9.0 gives a domain's devices that the document leaves open, for QEMU.

Owns: per-device defaults, and the devices that are there without being asked for.
May touch: the domain's devices, which it changes in place. May not touch: the host.
"""

from __future__ import annotations

from conf.domain.model import Domain
from conf.emulator import EmulatorFacts


def complete_devices(domain: Domain, facts: EmulatorFacts) -> None:
    """Fill in what the devices leave open."""
    domain.devices.emulator = domain.devices.emulator or facts.binary
