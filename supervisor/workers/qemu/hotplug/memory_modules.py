"""Plugs memory modules into a running guest, and has it use more or less of one.

Owns: the order of that. May touch: QEMU, by QMP; owners of the module's file.
Source: libvirt 9.0, qemuDomainAttachMemory, qemuDomainChangeMemoryLive.

A module is in the XML before QEMU gets it: the next worker then drops one that QEMU does not have.
"""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack
from dataclasses import replace

from conf.domain.devices.memory import MemoryDevice
from conf.domain.memory_modules import (
    align_module,
    change_total,
    check_module_change,
    check_new_module,
    check_slot_count,
    find_module,
)
from conf.domain.validate.memories import check_memory_device
from conf.errors import ConfError
from conf.types.size import KIB, Amount
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.argv.launch_inputs import Context
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.guest_user import guest_user
from supervisor.workers.qemu.hotplug.attach import emulator_facts, launch_context, run_steps
from supervisor.workers.qemu.hotplug.file_owners import (
    chown_files,
    give_back,
)
from supervisor.workers.qemu.hotplug.plan import HotplugPlan, plan_attach
from supervisor.workers.qemu.hotplug.qmp_steps import attach_steps
from supervisor.workers.qemu.interfaces import InterfaceFds
from supervisor.workers.qemu.memory_devices import backend_name, forget_module, refresh_modules
from supervisor.workers.qemu.memory_policy import host_nodes
from supervisor.workers.qemu.start import hugepages

log = logging.getLogger(__name__)


async def attach_module(guest: Guest, device: MemoryDevice) -> None:
    """Plug a memory device; if a step fails, those before it are undone.

    Raises:
        ConfError: the domain has no room for it.
        VirError: QEMU refuses; SYSTEM_ERROR: a file.
    """
    align_module(device)
    check_new_module(guest.domain, device)
    check_slot_count(guest.domain, len(guest.domain.devices.memories) + 1)
    plan = plan_attach(guest.domain, "memory", device, await emulator_facts(guest))
    async with AsyncExitStack() as undo:
        require_file(device)
        undo.push_async_callback(give_back, guest, await chown_files(guest, device))
        steps = attach_steps(_context(guest, plan), device, first_node=1)
        plan.merge_into(guest.domain)
        change_total(guest.domain, device.target.size)
        undo.callback(forget_module, guest, device)
        guest.update_xml()
        await run_steps(guest, steps, undo)
        undo.pop_all()
    try:
        await refresh_modules(guest)
    except VirError as error:  # it is plugged all the same
        log.warning("%s: the place of %s is not known: %s", guest.name, device.alias, error)
    guest.update_xml()
    log.info("%s: memory %s plugged", guest.name, device.alias)
    guest.publish_event(DomainEventID.DEVICE_ADDED, guest.identity, backend_name(device))


def require_file(device: MemoryDevice) -> None:
    """Refuse a module whose file is not there.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    try:
        if device.source_path is not None:
            os.stat(device.source_path)
    except OSError as error:
        detail = f"Path '{device.source_path}' is not accessible: {error.strerror}"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error


def _context(guest: Guest, plan: HotplugPlan) -> Context:
    """Make the planner's inputs, with what memory of the host can be asked for."""
    config, status = guest.context.config, guest.status
    context = launch_context(guest, plan, InterfaceFds())
    pages = hugepages.find_hugepages(config)
    inputs = replace(
        context.inputs,
        hugepage_dirs=pages.guest_dirs(status),
        default_hugepage=pages.default_kib,
        numa_nodes=host_nodes(),
    )
    if hugepages.has_hugepages(plan.domain):
        hugepages.make_directories(pages, status, guest_user(guest))
    return replace(context, inputs=inputs)


async def update_module(guest: Guest, changed: MemoryDevice) -> None:
    """Ask the guest to use more or less of a virtio-mem device.

    Raises:
        ConfError: "config_unsupported": there is no such module, or something else would change.
        VirError: QEMU refuses.
    """
    align_module(changed)
    check_memory_device(guest.domain, changed, await emulator_facts(guest))
    present = find_module(guest.domain, changed)
    if present is None:
        raise ConfError("config_unsupported", f"memory '{changed.alias or '(null)'}' not found")
    check_module_change(present, changed)
    requested = changed.target.requested or 0
    arguments = {
        "path": f"/machine/peripheral/{present.alias}",
        "property": "requested-size",
        "value": requested * KIB,
    }
    await guest.monitor.execute("qom-set", arguments)
    present.target.requested_amount = Amount(amount=requested)
