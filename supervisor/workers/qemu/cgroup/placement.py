"""Putting a QEMU that is about to be executed into its cgroup, with all that the XML limits.

Owns: where the group is, and the order of what is set. May touch: the group, the process.
Source: libvirt 9.0, qemuSetupCgroup, virCgroupNewMachine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import zlib
from collections.abc import Callable, Collection
from typing import Final

from conf.domain import Domain
from conf.domain.tuning import Blkiotune, Resource
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.cgroups import scopes
from supervisor.workers.cgroups.block_devices import block_device_numbers
from supervisor.workers.cgroups.containers import UNUSUAL
from supervisor.workers.cgroups.group import kept_weights
from supervisor.workers.cgroups.hierarchies import Layout, partition_path
from supervisor.workers.cgroups.limits import has_bfq
from supervisor.workers.cgroups.scope_names import (
    MACHINE,
    MachineScope,
    machine_name,
    machine_scope,
)
from supervisor.workers.qemu.cgroup.guest_cgroup import EMULATOR, GuestCgroup
from supervisor.workers.qemu.cgroup.settings import guest_limits, thread_limits

SYSTEM: Final = "/var/lib/libvirt/"  # the files of the host's own daemon
QEMU_VM: Final = ("qemu", "vm")  # driver, and class of machine
PLACE_S: Final = 10.0
REMOVE_S: Final = 1.0  # for the last threads of a QEMU that has exited
PAUSE_S: Final = 0.005

log = logging.getLogger(__name__)


def group_path(domain: Domain, identifier: int, domain_dir: str) -> str:
    """Name a guest's group: as libvirt's own daemon, which then finds it when it takes over.

    Two daemons on one host may run guests of one name and number: those that run below another root
    have a mark of their own files in the name.

    Args:
        domain: the guest's; its partition is the group above.
        identifier: its number.
        domain_dir: its private directory, of which a host has one.
    """
    partition = domain.partition if domain.partition not in (None, MACHINE) else None
    folder = partition_path(partition or "")
    suffix = ".libvirt-qemu" if domain_dir.startswith(SYSTEM) else ""
    return f"{folder}/{unique_name(domain.name, identifier, domain_dir)}{suffix}"


def unique_name(name: str, identifier: int, domain_dir: str) -> str:
    """Name a guest as no other of the host; arguments and names as of `group_path`."""
    if domain_dir.startswith(SYSTEM):
        return machine_name(QEMU_VM[0], name, identifier)
    mark = zlib.crc32(domain_dir.encode())
    return f"qemu-{identifier}-{UNUSUAL.sub('_', name[:20])}-{mark:08x}"


def plan_cgroup(
    domain: Domain, identifier: int, domain_dir: str, layout: Layout, wanted: Collection[str] = ()
) -> GuestCgroup:
    """Choose a guest's group; none where there is no hierarchy, or in a user's daemon.

    Args:
        domain: to be started.
        identifier: its number.
        domain_dir: its private directory.
        layout: the host's hierarchies.
        wanted: the controllers to use (qemu.conf, cgroup_controllers); none: all.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the partition is no absolute path.
    """
    if os.geteuid() != 0 or not layout.hierarchies:
        return GuestCgroup(layout, "")
    partition = domain.partition
    if partition is not None and not partition.startswith("/"):
        detail = f"Resource partition '{partition}' must start with '/'"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
    return GuestCgroup(layout, group_path(domain, identifier, domain_dir), wanted)


def plan_scope(domain: Domain, identifier: int, domain_dir: str) -> MachineScope | None:
    """Name a guest's scope on a host with systemd; None: the daemon is not the host's own.

    Two daemons would name their guests alike.
    """
    if not domain_dir.startswith(SYSTEM):
        return None
    return named_scope(domain.name, identifier, domain.uuid or "", domain.partition or "")


def named_scope(name: str, identifier: int, uuid: str, partition: str = "") -> MachineScope:
    """Name a guest's scope."""
    return machine_scope(*QEMU_VM, name, identifier, uuid, partition)


def record_partition(domain: Domain) -> None:
    """Say in the live XML in which partition the guest is."""
    if domain.partition is None:
        domain.resource = domain.resource or Resource()
        domain.resource.partition = MACHINE


def place(cgroup: GuestCgroup, domain: Domain, pid: int) -> None:
    """Set the limits of a group that was made, and move a process there that will execute QEMU.

    Raises:
        ConfError: a number is out of the controller's range.
        VirError: SYSTEM_ERROR: the kernel refuses.
    """
    group, v1_controllers = cgroup.group, cgroup.group.layout.v1_controllers
    numbers = block_device_numbers((domain.blkiotune or Blkiotune()).devices)
    for limit in guest_limits(domain, v1_controllers, numbers, bfq=has_bfq(group)):
        group.owner_of(limit).write(limit)
    cgroup.add_process(pid)
    cgroup.add_thread(EMULATOR, pid)
    for limit in thread_limits(domain, EMULATOR, v1_controllers, cgroup.has_threads):
        cgroup.thread(EMULATOR).write(limit)


def scope_weights(cgroup: GuestCgroup, domain: Domain) -> list[tuple[str, int]]:
    """List the weights of <cputune> and <blkiotune> as systemd keeps them.

    Raises:
        ConfError: a number is out of the controller's range. VirError: SYSTEM_ERROR: the host has
            no such block device.
    """
    group, v1_controllers = cgroup.group, cgroup.group.layout.v1_controllers
    numbers = block_device_numbers((domain.blkiotune or Blkiotune()).devices)
    limits = guest_limits(domain, v1_controllers, numbers, bfq=has_bfq(group))
    return kept_weights(limits)


async def in_thread(work: Callable[[], None]) -> None:
    """Do what waits for the kernel in a thread of its own.

    A write that moves a process takes 10 to 20 ms, as it waits for an RCU grace period. The
    executor of asyncio would keep its thread, and its memory, as long as the worker lives.

    Raises:
        VirError: OPERATION_TIMEOUT; what the work raises.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failure: Exception | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised again in the loop's thread
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(finish, failure)

    threading.Thread(target=run, name="cgroup", daemon=True).start()
    try:
        async with asyncio.timeout(PLACE_S):
            await done
    except TimeoutError:
        detail = f"the kernel has not moved QEMU to its cgroup in {PLACE_S:.0f} s"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.CGROUP) from None


async def remove(cgroup: GuestCgroup) -> None:
    """Remove the groups of a QEMU that has exited; what cannot be removed is logged."""
    if not cgroup.exists:
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REMOVE_S
    while not cgroup.remove():
        if loop.time() > deadline:
            log.warning("the cgroup %s cannot be removed", cgroup.group.path)
            return
        await asyncio.sleep(PAUSE_S)
    if cgroup.group.scope:
        await scopes.stop_unit(cgroup.group.scope)
