"""Giving a running guest a device.

Owns: the order: descriptors, files, steps, document; and undoing it.
May touch: the emulator, by QMP; netd, through `cards`; the owner of an image.
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
from conf.domain.devices.interface import Interface
from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID
from rpc.errors import VirError
from supervisor.messages.hostd import ProbeEmulator
from supervisor.workers.file_owners import chown_for_guest, restore
from supervisor.workers.interfaces import PLUGGED, unplug
from supervisor.workers.qemu.argv.disk import chain_from
from supervisor.workers.qemu.argv.launch_inputs import Context, Runtime
from supervisor.workers.qemu.argv.secret_encryption import Sealed, sealer
from supervisor.workers.qemu.block import backing_chains, disk_secrets
from supervisor.workers.qemu.block.iotune import throttle
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.plan import Candidate, with_device
from supervisor.workers.qemu.hotplug.qmp_steps import Step, free_number, plan_addition
from supervisor.workers.qemu.interfaces import Taps, live_card, plug
from supervisor.workers.qemu.start import live_xml
from supervisor.workers.qemu.start.files import files_of_disk
from supervisor.workers.qemu.start.monitor_setup import learn_chardevs
from supervisor.workers.qemu.start.volumes import find_volumes
from supervisor.workers.spawn import emulator_user

PROBE_S: Final = 15.0
KEY_FILE: Final = "master-key.aes"

log = logging.getLogger(__name__)


class BlockNode(msgspec.Struct, frozen=True, rename="kebab"):
    """One node of `query-named-block-nodes`."""

    node_name: str = ""


async def attach(guest: Guest, xml: str) -> None:
    """Add a device to a running guest; on failure it is as before.

    Raises:
        ConfError: the guest cannot have it, or not while it runs.
        VirError: netd or the emulator refuses.
    """
    tag, device = parse_device(xml)
    candidate = with_device(guest.domain, tag, device, await facts_of(guest))
    paths, status = guest.context.paths, guest.status
    live_xml.fill_channels(candidate.domain, paths.channels(status.id, guest.name))
    async with AsyncExitStack() as undo:
        taps = Taps()
        if isinstance(candidate.device, Interface) and candidate.device.type in PLUGGED:
            taps = await _plug(guest, candidate, undo)
        first = 1
        secrets: Mapping[str, bytes] = {}
        if isinstance(candidate.device, Disk):
            await find_volumes(guest.context.node.link("stord"), [candidate.device])
            await backing_chains.complete_disks([candidate.device])
            secrets = await disk_secrets.fetch(
                guest.context.node.link("hostd"), disk_secrets.sources_of_disk(candidate.device)
            )
            _hand_over(guest, candidate.device, undo)
            nodes = await guest.monitor.ask("query-named-block-nodes", list[BlockNode])
            first = free_number(node.node_name for node in nodes)
            backing_chains.number_disk(candidate.device, chain_from(candidate.device, first))
        # a bus comes late: what has been on one leaves only when the guest lets it
        *behind, front = plan_addition(
            context_of(guest, candidate, taps, secrets), candidate.device, first_node=first
        )
        await _perform(guest, behind, undo)
        for controller in candidate.controllers:
            await _perform(guest, _plan(guest, candidate, controller, Taps(), 1), undo)
        await _perform(guest, [front], undo)
        if isinstance(candidate.device, Disk):
            for command, arguments in throttle(candidate.device):
                await guest.monitor.execute(command, arguments)
        undo.pop_all()
    guest.domain = candidate.domain
    if isinstance(candidate.device, CharDevice):
        await learn_chardevs(guest, guest.monitor)
    guest.update_xml()
    alias = candidate.device.alias or ""  # type: ignore[union-attr]
    log.info("%s has got %s", guest.name, alias)
    guest.publish_event(DomainEventID.DEVICE_ADDED, guest.identity, alias)


async def facts_of(guest: Guest) -> EmulatorFacts:
    """What the emulator can do, as far as the guest's kind needs it; it is asked for once."""
    if guest.facts is None:
        guest.facts = await _ask_facts(guest)
    return guest.facts


async def _ask_facts(guest: Guest) -> EmulatorFacts:
    domain = guest.domain
    arch = (domain.os.type.arch if domain.os.type else None) or ""
    probe = ProbeEmulator(binary=domain.devices.emulator or "", arch=arch)
    probed = await guest.context.node.link("hostd").call(probe, timeout_s=PROBE_S)
    return probed.facts.narrowed(
        domain.type,
        (domain.os.type.machine if domain.os.type else None) or "",
        (domain.cpu.model.name if domain.cpu and domain.cpu.model else None) or "",
    )


def _plan(guest: Guest, candidate: Candidate, device: Device, taps: Taps, first: int) -> list[Step]:
    return plan_addition(context_of(guest, candidate, taps), device, first_node=first)


def context_of(
    guest: Guest,
    candidate: Candidate,
    taps: Taps,
    secrets: Mapping[str, bytes] | None = None,
) -> Context:
    """What planning needs to know of the guest."""
    paths, status = guest.context.paths, guest.status
    runtime = Runtime(
        id=status.id,
        domain_dir=str(guest.folder),
        channel_dir=str(paths.channels(status.id, guest.name)),
        memory_dir=str(paths.memory_dir(status.id, guest.name)),
        tap_fds=taps.taps,
        vhost_fds=taps.vhosts,
        secrets=secrets or {},
        seal=_sealer(guest.folder / KEY_FILE),
        now=status.started_at,
        default_tls_dir=guest.context.config.default_tls_x509_cert_dir,
    )
    return Context(candidate.domain, candidate.facts, runtime)


def _sealer(key_file: Path) -> Callable[[bytes], Sealed]:
    """Seals secrets as the launch did; the key is read when there is a secret."""

    def seal(secret: bytes) -> Sealed:
        return sealer(key_file.read_bytes())(secret)

    return seal


async def _plug(guest: Guest, candidate: Candidate, undo: AsyncExitStack) -> Taps:
    """Have netd plug a card in, and hand its descriptors to the emulator."""
    card = candidate.device
    assert isinstance(card, Interface), "the caller looked"
    attached = await plug(guest.context, candidate.domain, card)
    undo.push_async_callback(unplug, guest.context, guest.status.uuid, attached.tap)
    alias = card.alias or ""
    given = {
        "fd": [descriptor.take() for descriptor in attached.taps],
        "vhostfd": [descriptor.take() for descriptor in attached.vhosts],
    }
    try:
        names = {
            kind: tuple([await _give(guest, f"{kind}-{alias}{n}", fd) for n, fd in enumerate(fds)])
            for kind, fds in given.items()
        }
    finally:
        for fds in given.values():
            for fd in fds:
                os.close(fd)
    plugged = live_card(attached)
    interfaces = candidate.domain.devices.interfaces
    interfaces[interfaces.index(card)] = plugged
    candidate.device = plugged
    return Taps({alias: names["fd"]}, {alias: names["vhostfd"]})


async def _give(guest: Guest, name: str, fd: int) -> str:
    await guest.monitor.execute("getfd", {"fdname": name}, fd=fd)
    return name


def _hand_over(guest: Guest, disk: Disk, undo: AsyncExitStack) -> None:
    """Let the emulator's user open the image."""
    config = guest.context.config
    user = emulator_user(config, live_xml.static_label(guest.domain))
    if not config.dynamic_ownership or not live_xml.relabels(guest.domain) or user.is_own:
        return
    former = chown_for_guest(files_of_disk(disk), user)
    undo.callback(restore, former)
    guest.status.owners = [*guest.status.owners, *former]
    guest.save()


async def _perform(guest: Guest, steps: list[Step], undo: AsyncExitStack) -> None:
    for step in steps:
        await guest.monitor.execute(step.command, step.arguments)
        undo.push_async_callback(_take_back, guest, step)


async def _take_back(guest: Guest, step: Step) -> None:
    try:
        await guest.monitor.execute(step.undo, step.undo_arguments)
    except VirError as error:
        log.warning("%s: %s is left behind: %s", guest.name, step.undo_arguments, error)
