"""The I/O limits of a running guest's disks: set and queried in QEMU.

Owns: those. May touch: QEMU, by QMP; the live XML.
Source: libvirt 9.0, qemuDomainSetBlockIoTune, qemuDomainGetBlockIoTune.
"""

from __future__ import annotations

from typing import Final

from conf.domain import parse_domain
from conf.domain.devices.disk import Disk, Iotune, is_empty
from conf.domain.iotune import check_bursts, set_iotune
from conf.domain.model import Domain
from rpc.enums import TypedParameterType as P
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.drivers.qemu import QEMU
from supervisor.messages.worker import StatsParam
from supervisor.messages.worker_tuning import SetIotune
from supervisor.workers.qemu.block.iotune import COMMAND, PARAMETERS, throttle_arguments
from supervisor.workers.qemu.block.nodes import drive_qdev, is_drive_of
from supervisor.workers.qemu.cgroup.tuning import publish_tunable
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.replies import BlockInfo
from supervisor.workers.qemu.stats.sources import find_disk

NO_MEDIUM: Final = "block_io_throttle inserted entry was not in expected format"


async def set_io_limits(guest: Guest, request: SetIotune) -> None:
    """Limit a disk; one without a medium is limited when it gets one.

    Raises:
        ConfError: "config_unsupported". VirError: INVALID_ARG; what QEMU refuses.
    """
    changed = parse_domain(guest.live_xml)
    disk = need_disk(changed, request.path)
    tune = set_iotune(changed, disk, request.values)
    check_bursts(tune)
    if disk.source is not None and not is_empty(disk.source):
        arguments = {"id": drive_qdev(disk), **throttle_arguments(tune)}
        await guest.monitor.execute(COMMAND, arguments)
    limits = {each.target.dev: each.iotune for each in changed.devices.disks}
    for each in guest.domain.devices.disks:  # a disk may have been plugged meanwhile
        each.iotune = limits.get(each.target.dev, each.iotune)
    guest.update_xml()
    publish_tunable(guest, request.tunable)


async def get_io_limits(guest: Guest, path: str) -> list[StatsParam]:
    """Query a disk's limits.

    Raises:
        VirError: INVALID_ARG: there is no such disk; INTERNAL_ERROR: it has no medium; QEMU's.
    """
    disk = need_disk(guest.domain, path)
    drives = await guest.monitor.query("query-block", list[BlockInfo])
    drive = next((each for each in drives if is_drive_of(disk, each.qdev, each.device)), None)
    if drive is None or drive.inserted is None:
        raise VirError(ErrorCode.INTERNAL_ERROR, NO_MEDIUM, ErrorDomain.QEMU)
    return limits_of(drive.inserted.limits())


def limits_of(limits: dict[str, int | str]) -> list[StatsParam]:
    """Name QEMU's values as libvirt does."""
    params = []
    for field in Iotune.__dataclass_fields__:
        if field == "group_name":
            params.append(StatsParam(field, P.STRING, limits.get("group", "")))
        else:
            params.append(StatsParam(field, P.ULLONG, limits.get(PARAMETERS[field], 0)))
    return params


def need_disk(domain: Domain, path: str) -> Disk:
    """Find the disk that a client names.

    Raises:
        VirError: INVALID_ARG.
    """
    disk = find_disk(domain, path)
    if disk is None:
        raise QEMU.errors.invalid_arg(f"disk '{path}' not found in domain")
    return disk
