"""virDomainGetGuestInfo: what the agent knows of the guest, as typed parameters.

Owns: the commands of each type, and the parameters made of their replies. May touch: the agent.
Source: libvirt 9.0, virDomainGetGuestInfo, qemuDomainGetGuestInfo.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from conf.domain.devices.devices import Devices
from rpc.enums import DomainGuestInfoTypes as Types
from rpc.enums import IPAddrType
from rpc.params import Value, typed
from rpc.values import DomainInterface, TypedParam
from supervisor.workers.qemu.agent import filesystems, guest_agent, interfaces
from supervisor.workers.qemu.agent.replies import (
    Filesystem,
    GuestDisk,
    HostName,
    OsInfo,
    Timezone,
    User,
)
from supervisor.workers.qemu.guest import Guest

Values = dict[str, Value | None]  # None: left out
FAMILY_NAMES: Final = {IPAddrType.IPV4: "ipv4", IPAddrType.IPV6: "ipv6"}
MS: Final = 1000  # in a second


async def query(guest: Guest, types: int) -> list[TypedParam]:
    """Query the types of information (virDomainGuestInfoTypes).

    For 0 all that this agent has; else an agent without one of them is an error.

    Raises:
        VirError: as `guest_agent.query`.
    """
    values: Values = {}
    for kind, collect in COLLECTORS.items():
        if types and not types & kind:
            continue
        try:
            values |= await collect(guest)
        except guest_agent.AgentError as error:
            if types or not error.is_unsupported:
                raise
    return typed(values)


async def _users(guest: Guest) -> Values:
    return format_users(await guest_agent.query(guest, "guest-get-users", list[User]))


async def _os(guest: Guest) -> Values:
    return format_os(await guest_agent.query(guest, "guest-get-osinfo", OsInfo))


async def _timezone(guest: Guest) -> Values:
    zone = await guest_agent.query(guest, "guest-get-timezone", Timezone)
    return {"timezone.name": zone.zone, "timezone.offset": zone.offset}


async def _hostname(guest: Guest) -> Values:
    reply = await guest_agent.query(guest, "guest-get-host-name", HostName)
    return {"hostname": reply.host_name}


async def _filesystems(guest: Guest) -> Values:
    return format_filesystems(await filesystems.mounted(guest), guest.domain.devices)


async def _disks(guest: Guest) -> Values:
    disks = await guest_agent.query(guest, "guest-get-disks", list[GuestDisk])
    return format_disks(disks, guest.domain.devices)


async def _interfaces(guest: Guest) -> Values:
    return format_interfaces(await interfaces.query(guest))


#: In libvirt's order.
COLLECTORS: Final[dict[Types, Callable[[Guest], Awaitable[Values]]]] = {
    Types.USERS: _users,
    Types.OS: _os,
    Types.TIMEZONE: _timezone,
    Types.HOSTNAME: _hostname,
    Types.FILESYSTEM: _filesystems,
    Types.DISKS: _disks,
    Types.INTERFACES: _interfaces,
}


def format_users(users: Sequence[User]) -> Values:
    """Make the parameters of the users who are logged in."""
    values: Values = {"user.count": len(users)}
    for number, user in enumerate(users):
        values[f"user.{number}.name"] = user.user
        values[f"user.{number}.domain"] = user.domain
        # A hostile agent may send any number; 1e308 is none of a clock.
        since = user.login_time if 0 <= user.login_time < 1 << 53 else 0
        values[f"user.{number}.login-time"] = int(since * MS)
    return values


def format_os(info: OsInfo) -> Values:
    """Make the parameters of the operating system."""
    return {f"os.{name.replace('_', '-')}": getattr(info, name) for name in info.__struct_fields__}


def format_filesystems(mounted: Sequence[Filesystem], devices: Devices) -> Values:
    """Make the parameters of mounted file systems; without any there is none, as in libvirt."""
    values: Values = {"fs.count": len(mounted)} if mounted else {}
    for number, filesystem in enumerate(mounted):
        prefix = f"fs.{number}"
        values[f"{prefix}.name"] = filesystem.name
        values[f"{prefix}.mountpoint"] = filesystem.mountpoint
        values[f"{prefix}.fstype"] = filesystem.type
        values[f"{prefix}.total-bytes"] = _size(filesystem.total_bytes)
        values[f"{prefix}.used-bytes"] = _size(filesystem.used_bytes)
        values[f"{prefix}.disk.count"] = len(filesystem.disk)
        for position, disk in enumerate(filesystem.disk):
            values[f"{prefix}.disk.{position}.alias"] = disk.target_in(devices)
            values[f"{prefix}.disk.{position}.serial"] = disk.serial
            values[f"{prefix}.disk.{position}.device"] = disk.dev
    return values


def _size(size: int | None) -> int | None:
    return size if size is not None and 0 <= size < 1 << 64 else None


def format_disks(disks: Sequence[GuestDisk], devices: Devices) -> Values:
    """Make the parameters of the guest's disks and partitions; without any there is none."""
    values: Values = {"disk.count": len(disks)} if disks else {}
    for number, disk in enumerate(disks):
        prefix = f"disk.{number}"
        values[f"{prefix}.name"] = disk.name
        values[f"{prefix}.partition"] = int(disk.partition)
        if disk.dependencies:
            values[f"{prefix}.dependency.count"] = len(disk.dependencies)
        for position, dependency in enumerate(disk.dependencies):
            values[f"{prefix}.dependency.{position}.name"] = dependency
        if disk.address is not None:
            values[f"{prefix}.serial"] = disk.address.serial
            values[f"{prefix}.alias"] = disk.address.target_in(devices)
        values[f"{prefix}.guest_alias"] = disk.alias
    return values


def format_interfaces(found: Sequence[DomainInterface]) -> Values:
    """Make the parameters of the guest's interfaces and their addresses."""
    values: Values = {"if.count": len(found)} if found else {}
    for number, interface in enumerate(found):
        prefix = f"if.{number}"
        values[f"{prefix}.name"] = interface.name
        values[f"{prefix}.hwaddr"] = interface.hwaddr
        values[f"{prefix}.addr.count"] = len(interface.addrs)
        for position, address in enumerate(interface.addrs):
            values[f"{prefix}.addr.{position}.type"] = FAMILY_NAMES[IPAddrType(address.type)]
            values[f"{prefix}.addr.{position}.addr"] = address.addr
            values[f"{prefix}.addr.{position}.prefix"] = address.prefix
    return values
