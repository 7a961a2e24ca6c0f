"""What taints a domain from its start on, and what of it QEMU will not have for long.

Owns: those rules. Pure.
Source: libvirt 9.0, qemuDomainObjCheckTaint and its parts for disks, host devices and interfaces.
"""

from __future__ import annotations

from collections.abc import Iterator

from conf.domain import Domain
from conf.emulator import EmulatorFacts
from supervisor.objects.taints import Taint


def deprecations_of(domain: Domain, facts: EmulatorFacts) -> list[str]:
    """List the settings of a domain that its QEMU says are deprecated."""
    found = []
    name = domain.os.type.machine or ""
    machine = facts.machine(name)
    if machine is not None and machine.deprecated:
        found.append(f"machine type '{facts.canonical_machine(name)}'")
    cpu = domain.cpu
    model = cpu.model.name if cpu is not None and cpu.model is not None else None
    known = facts.cpu_model(domain.type, model) if model else None
    if known is not None and known.deprecated:
        found.append(f"CPU model '{model}'")
    return found


def taints_of(domain: Domain, *, is_deprecated: bool, as_root: bool) -> list[Taint]:
    """List the taints of a domain that is started.

    Args:
        domain: of the live XML.
        is_deprecated: whether it has deprecated settings.
        as_root: whether a system daemon runs its QEMU as root.
    """
    found = set(_of_extensions(domain)) | set(_of_devices(domain))
    if as_root:
        found.add(Taint.HIGH_PRIVILEGES)
    if domain.cpu is not None and domain.cpu.mode == "host-passthrough":
        found.add(Taint.HOST_CPU)
    if domain.os.dtb:
        found.add(Taint.CUSTOM_DTB)
    if is_deprecated:
        found.add(Taint.DEPRECATED_CONFIG)
    return [taint for taint in Taint if taint in found]


def _of_extensions(domain: Domain) -> Iterator[Taint]:
    command, features = domain.qemu_commandline, domain.qemu_capabilities
    if command is not None and (command.arguments or command.variables):
        yield Taint.CUSTOM_ARGV
    if features is not None and (features.added or features.removed):
        yield Taint.CUSTOM_HYPERVISOR_FEATURE
    if domain.qemu_override is not None and domain.qemu_override.devices:
        yield Taint.CUSTOM_DEVICE


def _of_devices(domain: Domain) -> Iterator[Taint]:
    devices = domain.devices
    for disk in devices.disks:
        if disk.rawio == "yes":
            yield Taint.HIGH_PRIVILEGES
        if disk.device == "cdrom" and disk.type == "block" and disk.chain():
            yield Taint.CDROM_PASSTHROUGH
    if any(hostdev.rawio for hostdev in devices.hostdevs):
        yield Taint.HIGH_PRIVILEGES
    if any(interface.script for interface in devices.interfaces):
        yield Taint.SHELL_SCRIPTS
