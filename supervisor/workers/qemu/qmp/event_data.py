"""The data of the QMP events that have handlers (`supervisor.workers.qemu.qmp.events`).

Owns: their types. A guest can have a part in what QEMU sends: each member has a default, and
unknown ones are left out.
Source: QEMU 7.2, "QEMU QMP Reference Manual".
"""

from __future__ import annotations

import msgspec


class ShutdownData(msgspec.Struct, frozen=True):
    """SHUTDOWN."""

    guest: bool = False
    reason: str = ""


class ActionData(msgspec.Struct, frozen=True):
    """WATCHDOG, GUEST_PANICKED."""

    action: str = ""


class BlockIoError(msgspec.Struct, frozen=True, rename="kebab"):
    """BLOCK_IO_ERROR."""

    device: str = ""
    qom_path: str = msgspec.field(default="", name="qom-path")
    node_name: str = ""
    operation: str = ""
    action: str = ""
    nospace: bool = False
    reason: str = ""


class WriteThreshold(msgspec.Struct, frozen=True, rename="kebab"):
    """BLOCK_WRITE_THRESHOLD, in bytes."""

    node_name: str = ""
    amount_exceeded: int = 0
    write_threshold: int = 0


class RtcChange(msgspec.Struct, frozen=True):
    """RTC_CHANGE."""

    offset: int = 0


class BalloonChange(msgspec.Struct, frozen=True):
    """BALLOON_CHANGE."""

    actual: int = 0


class DeviceData(msgspec.Struct, frozen=True):
    """DEVICE_DELETED."""

    device: str = ""
    path: str = ""


class MemorySize(msgspec.Struct, frozen=True):
    """MEMORY_DEVICE_SIZE_CHANGE; the size in bytes."""

    id: str = ""
    size: int = 0


class TrayMoved(msgspec.Struct, frozen=True, rename="kebab"):
    """DEVICE_TRAY_MOVED."""

    id: str = ""
    device: str = ""
    tray_open: bool = False


class JobStatusChange(msgspec.Struct, frozen=True):
    """JOB_STATUS_CHANGE."""

    id: str = ""
    status: str = ""


class PortChange(msgspec.Struct, frozen=True):
    """VSERPORT_CHANGE."""

    id: str = ""
    open: bool = False


class GraphicsEndpoint(msgspec.Struct, frozen=True):
    """One end of a display client's connection."""

    host: str = ""
    service: str = ""
    port: str = ""
    family: str = ""
    auth: str = ""
    sasl_username: str = ""
    x509_dname: str = ""


class GraphicsData(msgspec.Struct, frozen=True):
    """VNC_CONNECTED, SPICE_CONNECTED and the others."""

    server: GraphicsEndpoint = GraphicsEndpoint()
    client: GraphicsEndpoint = GraphicsEndpoint()
