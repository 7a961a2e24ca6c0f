"""Starts a domain: from its XML to a QEMU process whose vCPUs run.

Owns: the order of a start's phases, and undoing them. May touch: the domain's files and process.
May not touch: definitions, other domains.

The status XML is written before QEMU is spawned. If this worker dies on the way, the next one
finds a status without a process id, ends the process that was spawned (by its HOME=) and undoes
the rest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.addresses.assign import assign_addresses
from conf.domain.devices.disk_defaults import complete_live_cache
from conf.domain.memory_modules import align_modules, check_slot_count
from supervisor.images.firmware_descriptors import read_descriptors
from supervisor.messages.worker import LoadSnapshot, RestoreImage, Start
from supervisor.objects import device_lock
from supervisor.objects.domain_status_xml import remove_status
from supervisor.runtime import scsi_devices
from supervisor.runtime.system_bus import has_systemd
from supervisor.workers import usb_devices
from supervisor.workers.bendable_files import give_socket
from supervisor.workers.cgroups.group import Group
from supervisor.workers.cgroups.hierarchies import layout
from supervisor.workers.cgroups.scopes import Scope
from supervisor.workers.context import WorkerContext
from supervisor.workers.display_ports import DisplayPorts
from supervisor.workers.file_owners import chown_for_guest
from supervisor.workers.file_owners import restore as restore_owners
from supervisor.workers.guest_log import open_log
from supervisor.workers.interfaces import detach_port, netd_interfaces
from supervisor.workers.qemu import passthrough
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.block import backing_chains, disk_secrets, nodes, passed_images
from supervisor.workers.qemu.block.disk_sources import drop_missing_disks, resolve_volumes
from supervisor.workers.qemu.cgroup import placement
from supervisor.workers.qemu.cgroup.settings import check_available
from supervisor.workers.qemu.disk_locks import locks
from supervisor.workers.qemu.external import vhost_user_gpu, virtiofsd
from supervisor.workers.qemu.external.processes import end_processes
from supervisor.workers.qemu.external.start_devices import ExternalDevices
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.guest_user import choose_user
from supervisor.workers.qemu.interfaces import InterfaceFds, attach_interfaces
from supervisor.workers.qemu.listening_sockets import listen_for_qemu
from supervisor.workers.qemu.namespace.guest_dev import outside_dev, wants_private_dev
from supervisor.workers.qemu.outputs import Outputs, output_sources
from supervisor.workers.qemu.resctrl.groups import make_groups, remove_groups, vcpu_groups
from supervisor.workers.qemu.start import files, hugepages, live_xml, restore
from supervisor.workers.qemu.start.custom_capabilities import apply_capabilities, changed_flags
from supervisor.workers.qemu.start.firmware import fill_firmware
from supervisor.workers.qemu.start.guest_cpu import probe_for, take_saved_cpu
from supervisor.workers.qemu.start.hugepages import find_hugepages, has_hugepages
from supervisor.workers.qemu.start.libvirt_capabilities import capability_flags
from supervisor.workers.qemu.start.monitor_setup import connect_monitor
from supervisor.workers.qemu.start.numad import follow_advice
from supervisor.workers.qemu.start.qemu_process import launch_inputs, plan_command, spawn_qemu
from supervisor.workers.qemu.start.start_context import StartContext
from supervisor.workers.qemu.start.taints import deprecations_of, taints_of
from supervisor.workers.qemu.start.unsupported import check_supported
from supervisor.workers.running_guest import new_status
from supervisor.workers.spawn import check_reachable, warn_of_missing_user
from supervisor.workers.state_table import (
    PAUSED_AT_START,
    REVERTED,
    REVERTED_PAUSED,
    RUNNING,
    Trigger,
)
from supervisor.workers.unix_sockets import listen

log = logging.getLogger(__name__)

MONITOR_S: Final = 30.0  # for QEMU's greeting on a busy host


async def launch(context: WorkerContext, request: Start) -> Guest:
    """Start a domain; if a phase fails, those before it are undone.

    Raises:
        ConfError, VirError: it cannot be started.
    """
    try:
        start = await _plan(context, request)
        async with AsyncExitStack() as undo:
            guest = await _start(start, undo)
            undo.pop_all()
    finally:
        passed_images.close_groups(request.fd_groups)
        if isinstance(request.source, RestoreImage):
            request.source.image.close()
    return guest


async def _plan(context: WorkerContext, request: Start) -> StartContext:
    """Parse and check the domain, and complete it for this QEMU; nothing on the host changes."""
    domain = parse_domain(request.xml)
    domain.id = request.id
    check_supported(domain, locks_leases=locks.is_enabled(context.config))
    if domain.os.firmware is not None:
        directories = context.paths.firmware_descriptors(session=context.session)
        fill_firmware(domain, read_descriptors(directories), context.paths.nvram(domain.name))
    drop_missing_disks(domain)
    await usb_devices.resolve_addresses(domain)
    for disk in domain.devices.disks:
        complete_live_cache(disk)
    user = await choose_user(context, domain)
    warn_of_missing_user(domain.name, user)
    warn_of_port_forwards(domain)
    if isinstance(request.source, RestoreImage):
        original_cpu = take_saved_cpu(domain, request.source.cpu)
    else:
        original_cpu = ""
    probed = await probe_for(context, domain)
    facts = apply_capabilities(domain, probed)
    assign_addresses(domain, facts)
    align_modules(domain)
    check_slot_count(domain, len(domain.devices.memories))
    assign_aliases(domain)
    scsi_devices.generic_nodes(domain)  # before anything is made: the host may lack one
    descriptors = context.paths.vhost_user_descriptors(session=context.session)
    virtiofsd.complete(virtiofsd.served(domain), descriptors)
    vhost_user_gpu.refuse(domain, descriptors)
    await resolve_volumes(context.node.link("stord"), domain.devices.disks)
    domain_dir = context.paths.domain_dir(request.id, domain.name)
    wanted = context.config.cgroup_controllers
    cgroup = placement.plan_cgroup(domain, request.id, str(domain_dir), layout(), wanted)
    machine = placement.plan_scope(domain, request.id, str(domain_dir))
    scope = Scope(machine, layout()) if machine and cgroup.exists and has_systemd() else None
    if scope is not None:
        cgroup.group = Group(layout(), scope.group)
    if not cgroup.exists:
        check_available(domain, cgroup.has, session=context.session)
    monitor = str(domain_dir / "monitor.sock")
    status = new_status(domain, request.id, request.autodestroy, monitor)
    status.agent_timeout = request.agent_timeout
    status.original_cpu = original_cpu
    await follow_advice(domain, status)
    status.user = [user.uid, user.gid, int(user.is_dynamic)]
    status.deprecations = deprecations_of(domain, facts)
    status.libvirt_flags = " ".join(changed_flags(domain, capability_flags(probed)))
    as_root = user.uid == 0 and not context.session
    status.taints = [*taints_of(domain, is_deprecated=bool(status.deprecations), as_root=as_root)]
    return StartContext(
        context=context,
        request=request,
        domain=domain,
        facts=facts,
        user=user,
        status=status,
        domain_dir=domain_dir,
        hugepages=find_hugepages(context.config),
        cgroup=cgroup,
        scope=scope,
        has_private_dev=wants_private_dev(context.config, session=context.session),
    )


def warn_of_port_forwards(domain: Domain) -> None:
    """Log what a start ignores, as stock's does: it takes passt, which libvirt 9.0 is without."""
    for interface in domain.devices.interfaces:
        if interface.port_forwards:
            detail = "%s: <portForward> of interface %s does nothing: QEMU's own user network runs"
            log.warning(detail, domain.name, interface.mac)


async def _start(start: StartContext, undo: AsyncExitStack) -> Guest:
    context = start.context
    with (
        # The ports' locks are held until QEMU listens on them itself.
        DisplayPorts(context.paths.status_dir() / "ports") as ports,
        # The worker's copies of what QEMU inherits are closed when it has them.
        contextlib.ExitStack() as closing,
    ):
        await _prepare_domain(start, ports, undo)
        # Before an image's owner is changed: another guest may use it.
        locked = await locks.lock_for_start(context.config, start.domain, closing)
        async with device_lock.exclusive(context.paths, start.name, start.domain.devices.hostdevs):
            await _prepare_files(start, undo)
        fds = await _attach_interfaces(start, closing, undo)
        tpm_sockets = await _start_external_devices(start, undo)
        monitor = closing.enter_context(_listen(start))
        log_file = closing.enter_context(open_log(context.paths.guest_log(start.name)))
        outputs = Outputs(context)
        log_fd = await outputs.open_stdio(log_file.path, closing)
        secrets = await disk_secrets.fetch(
            context.node.link("hostd"), disk_secrets.domain_sources(start.domain)
        )
        opened = await outputs.open_all(start.domain, closing)
        sockets = listen_for_qemu(output_sources(start.domain), start.user, closing, undo)
        opened = replace(opened, sockets=sockets)
        numbered, _ = nodes.number_disks(start.domain.devices.disks)
        images = passed_images.inherited_images(numbered, start.request.fd_groups)
        inputs = launch_inputs(start, monitor, fds, secrets, tpm_sockets, opened, images)
        command = plan_command(start, inputs, log_file, log_fd)
        start.status.last_node = nodes.highest_index(command.argv)
        start.status.no_bitmaps = True
        await start.run_hook("start")
        process = await spawn_qemu(start, command, undo)
        guest = Guest(context, start.domain, start.status, process)
        undo.callback(guest.close_monitor)
        # While this process held the listening socket too, connecting to a QEMU that died would
        # succeed and wait for a greeting for ever.
        monitor.close()
        error_output = partial(outputs.error_output, log_file)
        await connect_monitor(guest, error_output, MONITOR_S)
        await locks.hand_over(guest, locked)
        source = start.request.source
        if isinstance(source, RestoreImage):
            await restore.load(guest, source, error_output)
        await start.run_hook("started")
    guest.live_xml = format_domain(start.domain, live=True, secure=True)
    if isinstance(source, RestoreImage):
        restore.record_loaded(guest, source, paused=start.request.paused)
        undo.callback(_keep_image, guest)
        await restore.run_loaded(guest)
    else:
        await _run_vcpus(guest, start.request)
        guest.save()
    return guest


def _keep_image(guest: Guest) -> None:
    """Leave the image of a guest whose vCPUs never ran as it is."""
    guest.status.loaded = None


async def _prepare_domain(start: StartContext, ports: DisplayPorts, undo: AsyncExitStack) -> None:
    """Fill in the live XML: ports, socket paths, label, backing chains, block nodes."""
    context, domain = start.context, start.domain
    live_xml.fill_channels(domain, context.paths.channels(start.status.id, start.name))
    live_xml.fill_graphics(domain, context.config, start.domain_dir, ports.reserve)
    live_xml.copy_serial_to_console(domain)
    if not context.session:
        by_default = context.config.security_default_confined
        live_xml.fill_dac_label(domain, start.user.uid, start.user.gid, by_default=by_default)
    # libvirt runs both hooks wherever a start fails: "stopped", then "release".
    undo.push_async_callback(start.notify_hook, "release")
    undo.push_async_callback(start.notify_hook, "stopped")
    # A hook may make images that the disks name, so chains are read after it.
    await start.run_hook("prepare")
    numbered, last = nodes.number_disks(domain.devices.disks)
    for disk, disk_nodes in zip(domain.devices.disks, numbered, strict=True):
        nodes.record_indexes(disk, disk_nodes)
    passed_images.require_groups(domain.devices.disks, start.request.fd_groups)
    opened = passed_images.open_paths(domain.devices.disks, start.request.fd_groups)
    await backing_chains.complete_chains(domain, opened)
    nodes.number_found(domain.devices.disks, last)


async def _prepare_files(start: StartContext, undo: AsyncExitStack) -> None:
    """Make the domain's directories and NVRAM, give its images to QEMU's user, write the status."""
    context, status = start.context, start.status
    undo.callback(files.remove_directories, context.paths, context.config, status)
    files.make_directories(context.paths, context.config, status, start.user)
    check_reachable(start.domain_dir, start.user)
    if has_hugepages(start.domain):
        undo.callback(hugepages.remove_directories, start.hugepages, status)
        hugepages.make_directories(start.hugepages, status, start.user)
    files.create_nvram(start.domain, context.paths, context.config)
    await _take_pci_devices(start, undo)
    if start.manages_owners:
        previous_owners = context.previous_owners
        chowned = list(files.domain_files(start.domain))
        if start.has_private_dev:
            chowned = outside_dev(chowned)
        status.owners = await chown_for_guest(chowned, start.user, previous_owners)
        undo.push_async_callback(restore_owners, status.owners, previous_owners)
    status.cgroup = start.cgroup.group.path
    start.write_status()
    undo.callback(remove_status, context.paths.status(start.name))
    await _make_cgroup(start, undo)
    await _make_resctrl_groups(start, undo)


async def _make_resctrl_groups(start: StartContext, undo: AsyncExitStack) -> None:
    """Make the groups of <cachetune> and <memorytune>.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the host cannot do it, or has no room left.
    """
    tune = start.domain.cputune
    if not vcpu_groups(tune):
        return
    machine = placement.unique_name(start.name, start.status.id, str(start.domain_dir))
    undo.callback(remove_groups, tune, machine)
    await placement.in_thread(lambda: make_groups(tune, machine))


async def _take_pci_devices(start: StartContext, undo: AsyncExitStack) -> None:
    """Give the host's PCI devices to vfio-pci, whose device nodes QEMU's user then gets."""
    undo.callback(remove_status, start.context.paths.status(start.name))
    hostdevs, save = start.domain.devices.hostdevs, start.write_status
    taken = await passthrough.take(start.context.node, hostdevs, start.status, save)
    undo.push_async_callback(passthrough.give_back, taken, start.status, save)


async def _make_cgroup(start: StartContext, undo: AsyncExitStack) -> None:
    """Make the group, whose path the status has by now; a host may let us make none.

    Raises:
        ConfError: "config_unsupported": the XML limits what only a group can.
        VirError: systemd does not make the scope that the group is in.
    """
    if not start.cgroup.exists:
        return
    undo.push_async_callback(placement.remove, start.cgroup)
    if start.scope is not None:
        undo.push_async_callback(start.scope.release)
        await start.scope.make()
        start.status.cgroup = start.scope.group
        start.cgroup.group = replace(start.cgroup.group, path=start.scope.group)
    if start.cgroup.make():
        placement.record_partition(start.domain)
    else:
        start.cgroup.group = replace(start.cgroup.group, path="")
        start.status.cgroup = ""
    check_available(start.domain, start.cgroup.has, session=start.context.session)


async def _attach_interfaces(
    start: StartContext, closing: contextlib.ExitStack, undo: AsyncExitStack
) -> InterfaceFds:
    """Have netd attach the interfaces that need a tap; their descriptors close with `closing`."""
    if not any(True for _ in netd_interfaces(start.domain)):
        return InterfaceFds()
    undo.push_async_callback(detach_port, start.context, start.status.uuid)
    fds = await attach_interfaces(
        start.context, start.domain, lambda fd: closing.callback(os.close, fd)
    )
    start.write_status()  # with the taps' names, for the hooks of a cleanup
    return fds


async def _start_external_devices(start: StartContext, undo: AsyncExitStack) -> dict[str, str]:
    """Start the processes that serve devices; the sockets of swtpm."""
    external = ExternalDevices(start.context, start.status, start.domain_dir, start.user)
    undo.push_async_callback(end_processes, start.status, start.domain_dir)
    await external.start_all(start.domain)
    if start.status.externals:
        start.write_status()
    return external.tpm_sockets


def _listen(start: StartContext) -> socket.socket:
    """Listen on the monitor's socket for QEMU, which inherits it (`-chardev socket,fd=`).

    A client may connect before QEMU runs: the kernel's backlog holds it, so nothing polls for the
    socket's file. QEMU's user must be able to reach it after a worker has ended, too.
    """
    monitor = listen(start.monitor_path)
    give_socket(start.monitor_path, start.user)
    return monitor


async def _run_vcpus(guest: Guest, request: Start) -> None:
    """Start the vCPUs, which `-S` has kept stopped, unless the client wants them paused."""
    states = (RUNNING, PAUSED_AT_START)
    if isinstance(request.source, LoadSnapshot):
        states = (REVERTED, REVERTED_PAUSED)
    state = states[request.paused]
    if not request.paused:
        guest.resume_cause = Trigger.BOOTED  # so that RESUME is no event of its own
        await guest.monitor.execute("cont")
    guest.status.state, guest.status.reason = state.state, state.reason
