"""What a document may say and nobody does: refused before a guest is started, never dropped.

Owns: the list of what neither the command line nor the worker acts on; `argv.unsupported` has
what cannot be planned, `tuning` what needs a cgroup. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from conf.domain import Domain
from conf.domain.devices.address import CcidAddress
from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.devices.memory import MemoryDevice
from conf.domain.devices.source import Source
from conf.errors import ConfError


def refuse_idle_words(domain: Domain) -> None:
    """Refuse what a document asks for and nobody does.

    Raises:
        ConfError: "config_unsupported", naming the first such element.
    """
    for what in idle_words(domain):
        raise ConfError(
            "config_unsupported", f"{what} cannot be acted on yet; remove it to start the domain"
        )


def idle_words(domain: Domain) -> Iterator[str]:
    """Everything in a document that nobody acts on."""
    yield from _of_domain(domain)
    yield from _of_containers(domain)
    yield from _of_processor(domain)
    devices = domain.devices
    for disk in devices.disks:
        yield from idle_words_of_disk(disk)
    for interface in devices.interfaces:
        yield from idle_words_of_interface(interface)
    for filesystem in devices.filesystems:
        yield from _of_filesystem(filesystem)
    for hostdev in devices.hostdevs:
        yield from _of_hostdev(hostdev)
    for memory in devices.memories:
        yield from _of_memory(memory)
    yield from _of_character_devices(domain)
    yield from _of_others(domain)


def _of_containers(domain: Domain) -> Iterator[str]:
    """What only containers have."""
    if domain.idmap is not None:
        yield "<idmap>, which is for containers,"
    if domain.features is not None and domain.features.capabilities is not None:
        yield "<capabilities> in <features>, which are for containers,"
    if domain.os.init_variables:
        yield "<initenv> in <os>, which is for containers,"
    if domain.lxc_namespace is not None:
        yield "<lxc:namespace>, which is for containers,"


def _of_domain(domain: Domain) -> Iterator[str]:
    if domain.hwuuid is not None and domain.hwuuid != domain.uuid:
        yield "<hwuuid>"
    if domain.bootloader is not None or domain.bootloader_args is not None:
        yield "<bootloader>"
    os = domain.os
    if os.init is not None or os.init_args or os.init_dir is not None:
        yield "<init> in <os>, which is for containers,"
    if os.root is not None:
        yield "<root> in <os>"
    if os.init_user is not None or os.init_group is not None:
        yield "<inituser> or <initgroup> in <os>, which are for containers,"
    if os.nvram is not None and os.nvram.type not in (None, "file"):
        yield f"<nvram type='{os.nvram.type}'>"


def _of_processor(domain: Domain) -> Iterator[str]:
    enabled = {state.id for state in domain.vcpus if state.enabled}
    if domain.vcpus and enabled != set(range(domain.current_vcpus)):
        yield "<vcpus> that enable other virtual processors than the first ones"
    cpu = domain.cpu
    if cpu is None:
        return
    if cpu.match in ("minimum", "strict"):
        yield f"match='{cpu.match}' of <cpu>"
    if cpu.check == "full" and cpu.mode == "custom":
        yield "check='full' of <cpu>"
    if cpu.cache is not None and cpu.cache.level not in (None, 3):
        yield f"level='{cpu.cache.level}' of the <cache> in <cpu>"
    for cell in cpu.numa.cells if cpu.numa else ():
        if cell.discard:
            yield f"discard='yes' of the NUMA <cell id='{cell.id}'>"


def idle_words_of_disk(disk: Disk) -> Iterator[str]:
    """What of a disk nobody acts on."""
    name = f"of disk '{disk.target.dev}'"
    if disk.rawio == "yes":
        yield f"rawio='yes' {name}"
    if disk.sgio == "unfiltered":
        yield f"sgio='unfiltered' {name}"
    if disk.transient:
        yield f"<transient/> {name}"
    if disk.backend_domain is not None:
        yield f"<backenddomain> {name}"
    if disk.driver is not None and disk.driver.discard_no_unref:
        yield f"discard_no_unref='on' {name}"
    if disk.iotune is not None and disk.target.bus in ("sd", "fdc"):
        yield f"<iotune> {name} on bus '{disk.target.bus}'"
    for source, _, _ in disk.chain():
        yield from _of_source(source, name)


def _of_source(source: Source, name: str) -> Iterator[str]:
    if source.fdgroup is not None:
        yield f"fdgroup='{source.fdgroup}' {name}"
    if source.type == "nvme" and source.managed is not False:
        yield f"managed='yes' {name}, which is a host's NVMe device,"
    for label in source.labels:
        if label.relabel is not False:
            yield f"<seclabel> {name}"
    if source.identity_user is not None or source.identity_group is not None:
        yield f"<identity> {name}"


def idle_words_of_interface(interface: Interface) -> Iterator[str]:
    """What of a card nobody acts on."""
    name = f"of interface '{interface.mac}'"
    if interface.routes:
        yield f"<route> {name}"
    if any(address.peer is not None for address in interface.ips):
        yield f"<ip peer=> {name}"
    if interface.guest_dev is not None:
        yield f"<guest dev=> {name}, which is for containers,"
    if interface.teaming is not None:
        yield f"<teaming> {name}"
    if interface.ips and interface.type != "user":
        yield f"<ip> {name}, whose type is '{interface.type}',"


def _of_filesystem(filesystem: Filesystem) -> Iterator[str]:
    name = f"of filesystem '{filesystem.target_dir}'"
    driver = filesystem.driver
    if filesystem.driver_type == "virtiofs" and filesystem.source_socket is None:
        yield f"virtiofs without a <source socket=> of a virtiofsd that runs, {name},"
    elif filesystem.binary is not None:
        yield f"<binary> {name}"
    if filesystem.space_hard_limit is not None or filesystem.space_soft_limit is not None:
        yield f"<space_hard_limit> or <space_soft_limit> {name}"
    if filesystem.usage is not None:
        yield f"usage= {name}, which is for containers,"
    if driver is not None and (driver.format is not None or driver.name is not None):
        yield f"format= or name= of the <driver> {name}"


def _of_hostdev(hostdev: Hostdev) -> Iterator[str]:
    name = f"of hostdev '{hostdev.alias or hostdev.type}'"
    source = hostdev.source
    if hostdev.managed and hostdev.type == "pci":
        yield f"managed='yes' {name}: bind the device to vfio-pci, say managed='no'; managed='yes'"
    if hostdev.ips or hostdev.routes:
        yield f"<ip> or <route> {name}"
    if hostdev.rawio or hostdev.sgio == "unfiltered":
        yield f"rawio= or sgio= {name}"
    if hostdev.driver not in (None, "vfio"):
        yield f"<driver name='{hostdev.driver}'> {name}"
    if hostdev.teaming is not None:
        yield f"<teaming> {name}"
    if hostdev.shareable:
        yield f"<shareable/> {name}"
    if source.startup_policy not in (None, "mandatory"):
        yield f"startupPolicy='{source.startup_policy}' {name}"
    if source.guest_reset is not None or source.write_filtering is not None:
        yield f"guestReset= or writeFiltering= {name}"


def _of_memory(memory: MemoryDevice) -> Iterator[str]:
    name = f"of the memory device '{memory.alias or memory.model}'"
    if memory.discard:
        yield f"discard='yes' {name}"
    if memory.uuid is not None:
        yield f"<uuid> {name}"
    if memory.source_nodes is not None or memory.source_page is not None:
        yield f"<nodemask> or <pagesize> {name}"


def _of_character_devices(domain: Domain) -> Iterator[str]:
    devices = domain.devices
    for device in (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels):
        for end in device.ends:
            name = f"of the character device of type '{device.type}'"
            if end.tls:
                yield f"tls='yes' {name}"
            if end.labels:
                yield f"<seclabel> {name}"


def _of_others(domain: Domain) -> Iterator[str]:
    devices = domain.devices
    if devices.leases:
        yield f"<lease> '{devices.leases[0].key}', which needs a lock manager,"
    for graphics in devices.graphics:
        if graphics.fullscreen:
            yield "fullscreen='yes' of <graphics>"
        if any(listen.type == "network" for listen in graphics.listens):
            yield "<listen type='network'> of <graphics>"
    for controller in devices.controllers:
        if controller.type == "xenbus":
            yield "<controller type='xenbus'>"
    yield from _of_cards(domain)


def _of_cards(domain: Domain) -> Iterator[str]:
    """Smartcards, video cards, sound cards."""
    devices = domain.devices
    for card in devices.smartcards:
        if isinstance(card.address, CcidAddress) and card.address.slot:
            yield f"slot {card.address.slot} of the smartcard '{card.alias}', whose reader has one,"
    for video in devices.videos:
        if video.driver is not None and video.driver.name == "vhostuser":
            yield "<driver name='vhostuser'> of <video>"
    for sound in devices.sounds:
        if sound.driver is not None:
            yield f"<driver> of the sound card '{sound.model}'"
