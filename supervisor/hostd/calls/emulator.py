"""Capabilities of the host and of QEMU, per emulator, machine and virtualization type.

Owns: which emulator a call is about, and the input of the capabilities XML.
May touch: emulators through `supervisor.hostd.emulator.emulators`. May not touch: guests.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.emulator import EmulatorFacts
from rpc.errors import ErrorCode
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.hostd.capabilities import domain as domcaps
from supervisor.hostd.capabilities.host import Host, HostPlatform, write_capabilities
from supervisor.hostd.cpu.host_cpu import describe_host, host_models
from supervisor.hostd.cpu.models import Cpu
from supervisor.hostd.emulator.emulators import Emulators, accelerator, qemu_error
from supervisor.hostd.node.node import Node, list_directory
from supervisor.images.firmware_descriptors import Descriptor, read_descriptors
from supervisor.runtime.host import host_arch
from supervisor.runtime.subprocesses import SEARCH_PATH

QEMU_VCPUS = 16  # libvirt's constant for type qemu
KVM_VCPUS = 1024
SWTPM = ("swtpm", "swtpm_setup")
POWER_STATES = (("mem", "suspend_mem"), ("disk", "suspend_disk"))


@dataclass(frozen=True, slots=True)
class Installation:
    """What this daemon's configuration and place say of the host."""

    uuid: str
    labels: str | None  # the DAC base label of guests, "+UID:+GID"; None in session mode
    firmware: Sequence[Path]  # the directories of QEMU's firmware descriptors; later ones win


class EmulatorCalls:
    """Reports QEMU's version and capabilities."""

    def __init__(self, node: Node, emulators: Emulators, installation: Installation) -> None:
        """Create the calls.

        Args:
            node: the host.
            emulators: what is installed.
            installation: its identity and places.
        """
        self._node = node
        self._emulators = emulators
        self._installation = installation
        self.uuid = installation.uuid

    async def version(self) -> int:
        """Return the host emulator's version: 1000000 * major + 1000 * minor + micro."""
        return (await self._emulators.host()).version_number

    def connect_get_max_vcpus(self, call: ClientCall, type: str | None) -> int:
        """Return the maximum number of vcpus of a virtualization type.

        Raises:
            VirError: INVALID_ARG for an unknown type.
        """
        virt_type = (type or "qemu").lower()
        if virt_type not in ("qemu", "kvm"):
            raise qemu_error(ErrorCode.INVALID_ARG, f"unknown type '{type}'")
        return KVM_VCPUS if virt_type == "kvm" else QEMU_VCPUS

    async def capabilities(self) -> str:
        """Return the capabilities XML."""
        arch = host_arch()
        guests = await self._emulators.all()
        models = None
        own = [facts for facts in guests if facts.arch == arch]
        if own:
            models = await self._emulators.models(own[0].binary)
        host = Host(
            uuid=self.uuid,
            cpu=describe_host(arch, self._node.cpu_fields(), models),
            topology=self._node.topology(),
            platform=self.platform(),
            labels=self._installation.labels,
        )
        return write_capabilities(host, guests)

    def platform(self) -> HostPlatform:
        """Collect NUMA cells, caches, sleep states and IOMMU of the host."""
        return HostPlatform(
            cells=self._node.cells(),
            caches=self._node.caches(),
            suspend=suspend_modes(Path("/sys/power/state")),
            iommu=bool(list_directory(Path("/sys/class/iommu"))),
        )

    async def domain_capabilities(
        self, binary: str | None, arch: str | None, machine: str | None, virt_type: str | None
    ) -> str:
        """Return the domain capabilities XML of an emulator, machine and virtualization type."""
        facts, chosen, kind = await self._emulators.select(binary, arch, machine, virt_type)
        host = domcaps.HostParts(
            cpus=await self._cpu_modes(facts, kind),
            firmware=self._firmware(facts.arch, chosen.name),
            swtpm=all(shutil.which(name, path=SEARCH_PATH) for name in SWTPM),
        )
        return domcaps.write_domain_capabilities(facts, chosen, kind, host)

    def _firmware(self, arch: str, machine: str) -> list[Descriptor]:
        """Read the descriptors for a machine type; they change with Debian's packages."""
        found = read_descriptors(self._installation.firmware)
        return [
            one
            for one in found
            if one.runs_on(arch, machine) and (not one.file or os.path.exists(one.file))
        ]

    async def _cpu_modes(self, facts: EmulatorFacts, kind: str) -> domcaps.CpuModes:
        models = await self._emulators.models(facts.binary)
        cpus = accelerator(facts, kind)
        host = host_models(cpus, models, frozenset())
        by_name = {model.name: model for model in cpus.cpu_models}
        custom_models = []
        for name in sorted(models.names(), reverse=True):
            model, fact = models.get(name), by_name.get(name)
            if model is not None and fact is not None:
                custom_model = domcaps.CustomModel(name, model.vendor, fact.usable, fact.deprecated)
                custom_models.append(custom_model)
        return domcaps.CpuModes(
            passthrough=kind == "kvm",
            host_model=host_model(host.reported) if host is not None else None,
            models=custom_models,
        )


def host_model(cpu: Cpu) -> domcaps.HostModel:
    """Describe host-model as a named model and the features that differ."""
    rows = [("require", name) for name in cpu.require]
    rows += [("disable", name) for name in cpu.disable]
    return domcaps.HostModel(cpu.model, cpu.vendor, tuple(rows))


def suspend_modes(state: Path) -> list[str]:
    """Return the host's sleep states as libvirt names them (/sys/power/state)."""
    try:
        states = state.read_text().split()
    except OSError:
        return []
    return [name for state_name, name in POWER_STATES if state_name in states]
