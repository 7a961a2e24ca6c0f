"""The protocol's named structures as values, a field each in wire order.

Owns: the shapes that `remote.table` and `qemu.table` name. Generated once from them; a test
checks that they agree.
"""

from __future__ import annotations

from typing import NamedTuple


class TypedValue(NamedTuple):
    """A typed parameter's value: the type's number (virTypedParameterType) and what it holds."""

    type: int
    value: int | float | str


class DomainDiskError(NamedTuple):
    """`domain_disk_error` of the protocol."""

    disk: str
    error: int


class DomainEventGraphicsAddress(NamedTuple):
    """`domain_event_graphics_address` of the protocol."""

    family: int
    node: str
    service: str


class DomainEventGraphicsIdentity(NamedTuple):
    """`domain_event_graphics_identity` of the protocol."""

    type: str
    name: str


class DomainFsinfo(NamedTuple):
    """`domain_fsinfo` of the protocol."""

    mountpoint: str
    name: str
    fstype: str
    dev_aliases: list[str]


class DomainIpAddr(NamedTuple):
    """`domain_ip_addr` of the protocol."""

    type: int
    addr: str
    prefix: int


class DomainInterface(NamedTuple):
    """`domain_interface` of the protocol."""

    name: str
    hwaddr: str | None
    addrs: list[DomainIpAddr]


class DomainIothreadInfo(NamedTuple):
    """`domain_iothread_info` of the protocol."""

    iothread_id: int
    cpumap: bytes


class DomainMemoryStat(NamedTuple):
    """`domain_memory_stat` of the protocol."""

    tag: int
    val: int


class Domain(NamedTuple):
    """`domain` of the protocol."""

    name: str
    uuid: bytes
    id: int


class TypedParam(NamedTuple):
    """`typed_param` of the protocol."""

    field: str
    value: TypedValue


class DomainSecurityLabel(NamedTuple):
    """`domain_security_label` of the protocol."""

    label: bytes
    enforcing: int


class DomainStatsRecord(NamedTuple):
    """`domain_stats_record` of the protocol."""

    dom: Domain
    params: list[TypedParam]


class Network(NamedTuple):
    """`network` of the protocol."""

    name: str
    uuid: bytes


class NetworkDhcpLease(NamedTuple):
    """`network_dhcp_lease` of the protocol."""

    iface: str
    expirytime: int
    type: int
    mac: str | None
    iaid: str | None
    ipaddr: str
    prefix: int
    hostname: str | None
    clientid: str | None


class NodeGetCpuStats(NamedTuple):
    """`node_get_cpu_stats` of the protocol."""

    field: str
    value: int


class NodeGetMemoryStats(NamedTuple):
    """`node_get_memory_stats` of the protocol."""

    field: str
    value: int


class DomainCheckpoint(NamedTuple):
    """`domain_checkpoint` of the protocol."""

    name: str
    dom: Domain


class DomainSnapshot(NamedTuple):
    """`domain_snapshot` of the protocol."""

    name: str
    dom: Domain


class Interface(NamedTuple):
    """`interface` of the protocol."""

    name: str
    mac: str


class NetworkPort(NamedTuple):
    """`network_port` of the protocol."""

    net: Network
    uuid: bytes


class NodeDevice(NamedTuple):
    """`node_device` of the protocol."""

    name: str


class Nwfilter(NamedTuple):
    """`nwfilter` of the protocol."""

    name: str
    uuid: bytes


class NwfilterBinding(NamedTuple):
    """`nwfilter_binding` of the protocol."""

    portdev: str
    filtername: str


class Secret(NamedTuple):
    """`secret` of the protocol."""

    uuid: bytes
    usage_type: int
    usage_id: str


class StoragePool(NamedTuple):
    """`storage_pool` of the protocol."""

    name: str
    uuid: bytes


class StorageVol(NamedTuple):
    """`storage_vol` of the protocol."""

    pool: str
    name: str
    key: str


class VcpuInfo(NamedTuple):
    """`vcpu_info` of the protocol."""

    number: int
    state: int
    cpu_time: int
    cpu: int


class DomainEventBalloonChangeMsg(NamedTuple):
    """`domain_event_balloon_change_msg` of the protocol."""

    dom: Domain
    actual: int


class DomainEventBlockJobMsg(NamedTuple):
    """`domain_event_block_job_msg` of the protocol."""

    dom: Domain
    path: str
    type: int
    status: int


class DomainEventControlErrorMsg(NamedTuple):
    """`domain_event_control_error_msg` of the protocol."""

    dom: Domain


class DomainEventDeviceRemovedMsg(NamedTuple):
    """`domain_event_device_removed_msg` of the protocol."""

    dom: Domain
    dev_alias: str


class DomainEventDiskChangeMsg(NamedTuple):
    """`domain_event_disk_change_msg` of the protocol."""

    dom: Domain
    old_src_path: str | None
    new_src_path: str | None
    dev_alias: str
    reason: int


class DomainEventGraphicsMsg(NamedTuple):
    """`domain_event_graphics_msg` of the protocol."""

    dom: Domain
    phase: int
    local: DomainEventGraphicsAddress
    remote: DomainEventGraphicsAddress
    auth_scheme: str
    subject: list[DomainEventGraphicsIdentity]


class DomainEventIoErrorMsg(NamedTuple):
    """`domain_event_io_error_msg` of the protocol."""

    dom: Domain
    src_path: str
    dev_alias: str
    action: int


class DomainEventIoErrorReasonMsg(NamedTuple):
    """`domain_event_io_error_reason_msg` of the protocol."""

    dom: Domain
    src_path: str
    dev_alias: str
    action: int
    reason: str


class DomainEventLifecycleMsg(NamedTuple):
    """`domain_event_lifecycle_msg` of the protocol."""

    dom: Domain
    event: int
    detail: int


class DomainEventPmsuspendDiskMsg(NamedTuple):
    """`domain_event_pmsuspend_disk_msg` of the protocol."""

    dom: Domain


class DomainEventPmsuspendMsg(NamedTuple):
    """`domain_event_pmsuspend_msg` of the protocol."""

    dom: Domain


class DomainEventPmwakeupMsg(NamedTuple):
    """`domain_event_pmwakeup_msg` of the protocol."""

    dom: Domain


class DomainEventRebootMsg(NamedTuple):
    """`domain_event_reboot_msg` of the protocol."""

    dom: Domain


class DomainEventRtcChangeMsg(NamedTuple):
    """`domain_event_rtc_change_msg` of the protocol."""

    dom: Domain
    offset: int


class DomainEventTrayChangeMsg(NamedTuple):
    """`domain_event_tray_change_msg` of the protocol."""

    dom: Domain
    dev_alias: str
    reason: int


class DomainEventWatchdogMsg(NamedTuple):
    """`domain_event_watchdog_msg` of the protocol."""

    dom: Domain
    action: int


class AdminServer(NamedTuple):
    """`admin_server` of the protocol."""

    name: str


class AdminClient(NamedTuple):
    """`admin_client` of the protocol."""

    srv: AdminServer
    id: int
    timestamp: int
    transport: int
