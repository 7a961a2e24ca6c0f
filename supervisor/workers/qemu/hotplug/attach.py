"""Attaches a device to a running domain.

Owns: the order: tap or image, backends, device, live XML; and undoing it.
May touch: QEMU, by QMP; netd, by `interfaces`; owners of images.
Source: libvirt 9.0, qemu_hotplug.c.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from conf.domain.device_xml import Device, parse_device
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.devices.watchdog import Watchdog
from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID
from rpc.errors import VirError
from supervisor.messages.hostd import ProbeEmulator
from supervisor.objects import device_lock
from supervisor.runtime import scsi_devices
from supervisor.workers import usb_devices
from supervisor.workers.interfaces import NETD_TYPES, detach_port
from supervisor.workers.qemu import passthrough
from supervisor.workers.qemu.argv.launch_inputs import Context, LaunchInputs, PassedImage
from supervisor.workers.qemu.argv.secret_encryption import EncryptedSecret, encryptor
from supervisor.workers.qemu.argv.small_devices import watchdog_action
from supervisor.workers.qemu.block import backing_chains, disk_secrets, nodes
from supervisor.workers.qemu.block.disk_sources import resolve_volumes
from supervisor.workers.qemu.block.iotune import throttle_commands
from supervisor.workers.qemu.block.passed_images import (
    NO_GROUPS,
    Groups,
    close_groups,
    open_paths,
    pass_images,
    require_groups,
)
from supervisor.workers.qemu.external import virtiofsd
from supervisor.workers.qemu.external.processes import end_process
from supervisor.workers.qemu.external.start_devices import ExternalDevices
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.guest_user import guest_user
from supervisor.workers.qemu.hotplug.file_owners import chown_files, give_back
from supervisor.workers.qemu.hotplug.output_fds import pass_outputs
from supervisor.workers.qemu.hotplug.plan import HotplugPlan, plan_attach
from supervisor.workers.qemu.hotplug.qmp_steps import QmpStep, attach_steps
from supervisor.workers.qemu.interfaces import InterfaceFds, attach_interface, live_interface
from supervisor.workers.qemu.memory_lock import raise_memory_lock
from supervisor.workers.qemu.outputs import OutputFds
from supervisor.workers.qemu.start import live_xml
from supervisor.workers.qemu.start.custom_capabilities import apply_capabilities
from supervisor.workers.qemu.start.monitor_setup import fill_chardevs, query_chardevs

KEY_FILE: Final = "master-key.aes"

log = logging.getLogger(__name__)


class BlockNode(msgspec.Struct, frozen=True, rename="kebab"):
    """One node of `query-named-block-nodes`."""

    node_name: str = ""


async def attach(guest: Guest, xml: str, groups: Groups = NO_GROUPS) -> None:
    """Attach a device; if a step fails, those before it are undone.

    Raises:
        ConfError: the domain cannot have the device, or not while it runs.
        VirError: netd or QEMU refuses.
    """
    tag, device = parse_device(xml)
    if isinstance(device, Hostdev) and usb_devices.is_usb(device):
        usb_devices.set_address(device, await usb_devices.list_devices())
    taken = [device] if isinstance(device, Hostdev) else []
    async with device_lock.exclusive(guest.context.paths, guest.name, taken):
        try:
            await _attach(guest, tag, device, groups)
        finally:
            close_groups(groups)


async def _attach(guest: Guest, tag: str, device: Device, groups: Groups) -> None:
    """Attach a device whose place on the host is known; raises as `attach`."""
    plan = plan_attach(guest.domain, tag, device, await emulator_facts(guest))
    paths, status = guest.context.paths, guest.status
    live_xml.fill_channels(plan.domain, paths.channels(status.id, guest.name))
    async with AsyncExitStack() as undo:
        fds = InterfaceFds()
        if isinstance(plan.device, Interface) and plan.device.type in NETD_TYPES:
            fds = await _attach_interface(guest, plan, undo)
        first = 1
        secrets: Mapping[str, bytes] = {}
        images: Mapping[str, PassedImage] = {}
        if isinstance(plan.device, Disk):
            await resolve_volumes(guest.context.node.link("stord"), [plan.device])
            require_groups([plan.device], groups)
            await backing_chains.complete_disks([plan.device], open_paths([plan.device], groups))
            secrets = await disk_secrets.fetch(
                guest.context.node.link("hostd"), disk_secrets.disk_sources(plan.device)
            )
            first = await take_indexes(guest, len(plan.device.chain()))
            numbered = nodes.number_disk(plan.device, first)
            nodes.record_indexes(plan.device, numbered)
            images = await pass_images(guest, numbered, groups, undo)
        if isinstance(plan.device, Hostdev) and plan.device.type == "scsi":
            first = await take_indexes(guest, 1)
            secrets = await _hostdev_secrets(guest, plan.device)
        await _take_pci_device(guest, plan, undo)
        undo.push_async_callback(give_back, guest, await chown_files(guest, plan.device))
        if isinstance(plan.device, Filesystem) and virtiofsd.needs_virtiofsd(plan.device):
            await _start_virtiofsd(guest, plan.device, undo)
        outputs = await pass_outputs(guest, plan.device, undo)
        # The controller is added after the backends, which may fail: removing it again takes the
        # guest's consent (device_del), removing a backend does not.
        *backends, frontend = attach_steps(
            launch_context(guest, plan, fds, secrets, outputs, images),
            plan.device,
            first_node=first,
        )
        await run_steps(guest, backends, undo)
        for controller in plan.controllers:
            await run_steps(guest, _plan(guest, plan, controller, InterfaceFds(), 1), undo)
        await run_steps(guest, [frontend], undo)
        if isinstance(plan.device, Disk):
            for command, arguments in throttle_commands(plan.device):
                await guest.monitor.execute(command, arguments)
        if isinstance(plan.device, Watchdog):
            action = {"action": watchdog_action(plan.device)}
            await guest.monitor.execute("watchdog-set-action", action)
        undo.pop_all()
    plan.merge_into(guest.domain)
    if isinstance(plan.device, CharDevice):
        fill_chardevs(guest.domain, await query_chardevs(guest.monitor))
    guest.update_xml()
    alias = plan.device.alias or ""  # type: ignore[union-attr]
    log.info("%s: device %s attached", guest.name, alias)
    guest.publish_event(DomainEventID.DEVICE_ADDED, guest.identity, alias)


async def _take_pci_device(guest: Guest, plan: HotplugPlan, undo: AsyncExitStack) -> None:
    """Give a PCI device of the host to vfio-pci, which pins the guest's memory."""
    if isinstance(plan.device, Hostdev):
        node, status = guest.context.node, guest.status
        taken = await passthrough.take(node, [plan.device], status, guest.save)
        undo.push_async_callback(passthrough.give_back, taken, status, guest.save)
        raise_memory_lock(guest.process.pid, plan.domain)


async def _hostdev_secrets(guest: Guest, hostdev: Hostdev) -> Mapping[str, bytes]:
    """Fetch the password of a disk over iSCSI."""
    storage = hostdev.source.storage
    sources = [storage] if storage is not None else []
    return await disk_secrets.fetch(guest.context.node.link("hostd"), sources)


def _scsi_generic(device: Device) -> dict[str, str]:
    """Find the node of a SCSI unit of the host.

    Raises:
        VirError: the host has no such unit.
    """
    if not isinstance(device, Hostdev) or not scsi_devices.is_unit(device):
        return {}
    return {device.alias or "": scsi_devices.generic_node(device)}


async def _start_virtiofsd(guest: Guest, filesystem: Filesystem, undo: AsyncExitStack) -> None:
    context, status = guest.context, guest.status
    descriptors = context.paths.vhost_user_descriptors(session=context.session)
    virtiofsd.complete([filesystem], descriptors)
    user = guest_user(guest)
    await ExternalDevices(context, status, guest.domain_dir, user).start_virtiofsd(filesystem)
    undo.push_async_callback(end_process, status, filesystem.alias or "")
    guest.save()


async def take_indexes(guest: Guest, count: int) -> int:
    """Return the first of so many numbers that no block node of the running QEMU has had.

    They are recorded: nodes that a process leaves behind are in nobody's way.
    """
    status = guest.status
    if not status.last_node:
        status.last_node = nodes.free_index(await block_node_names(guest)) - 1
    first = status.last_node + 1
    status.last_node += max(count, 1)
    guest.save()
    return first


async def block_node_names(guest: Guest) -> list[str]:
    """Return the names of QEMU's block nodes."""
    # Not flat, each node is described with all images below it: megabytes for a chain of 100.
    arguments = {"flat": True}
    listed = await guest.monitor.query("query-named-block-nodes", list[BlockNode], arguments)
    return [node.node_name for node in listed]


async def emulator_facts(guest: Guest) -> EmulatorFacts:
    """Return what the domain's QEMU supports; hostd is asked at the first hotplug only.

    They take memory that the worker of a domain without hotplug does not need.
    """
    if guest.emulator_facts is None:
        guest.emulator_facts = await _probe_facts(guest)
    return guest.emulator_facts


async def _probe_facts(guest: Guest) -> EmulatorFacts:
    domain = guest.domain
    arch = (domain.os.type.arch if domain.os.type else None) or ""
    probe = ProbeEmulator(binary=domain.devices.emulator or "", arch=arch)
    probed = await guest.context.node.link("hostd").call(probe)
    facts = apply_capabilities(domain, probed.facts)
    return facts.for_launch(
        domain.type,
        (domain.os.type.machine if domain.os.type else None) or "",
        (domain.cpu.model.name if domain.cpu and domain.cpu.model else None) or "",
    )


def _plan(
    guest: Guest, plan: HotplugPlan, device: Device, fds: InterfaceFds, first: int
) -> list[QmpStep]:
    return attach_steps(launch_context(guest, plan, fds), device, first_node=first)


def launch_context(
    guest: Guest,
    plan: HotplugPlan,
    fds: InterfaceFds,
    secrets: Mapping[str, bytes] | None = None,
    outputs: OutputFds | None = None,
    images: Mapping[str, PassedImage] | None = None,
) -> Context:
    """Make the inputs of the argv planner, which plans hotplugged devices, too."""
    outputs = outputs or OutputFds()
    paths, status, config = guest.context.paths, guest.status, guest.context.config
    runtime = LaunchInputs(
        id=status.id,
        domain_dir=str(guest.domain_dir),
        channel_dir=str(paths.channels(status.id, guest.name)),
        memory_dir=str(paths.memory_dir(status.id, guest.name, config.memory_backing_dir)),
        tap_fds=fds.taps,
        vhost_fds=fds.vhosts,
        char_fds=outputs.chars,
        disk_fds=images or {},
        log_fds=outputs.logs,
        socket_fds=outputs.sockets,
        secrets=secrets or {},
        scsi_generic=_scsi_generic(plan.device),
        encrypt=_encryptor(guest.domain_dir / KEY_FILE),
        now=status.started_at,
        default_tls_dir=config.default_tls_x509_cert_dir,
    )
    return Context(plan.domain, plan.facts, runtime)


def _encryptor(key_file: Path) -> Callable[[bytes], EncryptedSecret]:
    """Encrypt secrets with the master key of the start; it is read when there is a secret."""

    def encrypt(secret: bytes) -> EncryptedSecret:
        return encryptor(key_file.read_bytes())(secret)

    return encrypt


async def _attach_interface(guest: Guest, plan: HotplugPlan, undo: AsyncExitStack) -> InterfaceFds:
    """Have netd attach an interface, and pass its descriptors to QEMU (`getfd`)."""
    interface = plan.device
    assert isinstance(interface, Interface), "checked by the caller"
    attached = await attach_interface(guest.context, plan.domain, interface)
    undo.push_async_callback(detach_port, guest.context, guest.status.uuid, attached.tap)
    alias = interface.alias or ""
    fds_by_kind = {
        "fd": [descriptor.take() for descriptor in attached.taps],
        "vhostfd": [descriptor.take() for descriptor in attached.vhosts],
    }
    try:
        names = {
            kind: tuple([await _getfd(guest, f"{kind}-{alias}{n}", fd) for n, fd in enumerate(fds)])
            for kind, fds in fds_by_kind.items()
        }
    finally:
        for fds in fds_by_kind.values():
            for fd in fds:
                os.close(fd)
    live = live_interface(attached)
    interfaces = plan.domain.devices.interfaces
    interfaces[interfaces.index(interface)] = live
    plan.device = live
    return InterfaceFds({alias: names["fd"]}, {alias: names["vhostfd"]})


async def _getfd(guest: Guest, name: str, fd: int) -> str:
    """Pass a descriptor; the monitor keeps it under its name until netdev_add takes it."""
    await guest.monitor.execute("getfd", {"fdname": name}, fd=fd)
    return name


async def run_steps(guest: Guest, steps: list[QmpStep], undo: AsyncExitStack) -> None:
    """Execute the steps; `undo` gets what undoes each. Raises as `Monitor.execute`."""
    for step in steps:
        await guest.monitor.execute(step.command, step.arguments, timeout_s=step.timeout_s)
        undo.push_async_callback(_undo, guest, step)


async def _undo(guest: Guest, step: QmpStep) -> None:
    try:
        await guest.monitor.execute(step.undo, step.undo_arguments)
    except VirError as error:
        log.warning("%s: %s cannot be removed again: %s", guest.name, step.undo_arguments, error)
