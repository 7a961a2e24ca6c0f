"""The host's audit log: records to the kernel's audit subsystem (netlink), and to our own log.

Owns: how a record is written. May touch: one netlink socket for each record.
May not touch: what records say (`supervisor.workers.audit`).
Source: libvirt 9.0, "Audit log", and its records on Debian 12; netlink messages of linux/audit.h;
audit_log_user_message(3) for what follows a record's own fields.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from conf.errors import ConfError
from conf.settings import DaemonConfig

NETLINK_AUDIT: Final = 9
NLMSG_ERROR: Final = 2
REQUEST_WITH_ACK: Final = 1 | 4  # NLM_F_REQUEST, NLM_F_ACK
HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
REPLY_CODE: Final = struct.Struct("=i")
MAX_MESSAGE: Final = 8900  # MAX_AUDIT_MESSAGE_LENGTH of libaudit is 8970
REPLY_S: Final = 1.0  # the kernel answers before sendto() returns
#: What says that there is no audit subsystem, or not for us: in a container, or without the right.
ABSENT: Final = (errno.EINVAL, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)
REFUSED: Final = (errno.EPERM, errno.ECONNREFUSED)
REQUIRED: Final = 2  # audit_level: the daemon does not start without it

log = logging.getLogger("audit")


class RecordType(IntEnum):
    """Types of linux/audit.h that libvirt writes."""

    VIRT_CONTROL = 2500
    VIRT_RESOURCE = 2501
    VIRT_MACHINE_ID = 2502


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record."""

    type: RecordType
    text: str  # fields, encoded
    success: bool = True


class AuditLog:
    """Where records go, as libvirtd.conf says."""

    def __init__(self, *, level: int = 0, logs: bool = False) -> None:
        """Choose.

        Args:
            level: audit_level: 0 writes nothing to the kernel.
            logs: audit_logging: writes records to our own log, too.
        """
        self._logs = logs
        self._to_kernel = level > 0 and is_available()

    @property
    def is_enabled(self) -> bool:
        """Whether records go anywhere."""
        return self._logs or self._to_kernel

    def write(self, record: AuditRecord) -> None:
        """Write a record; a failure is logged: it must not stop a guest."""
        if self._logs:
            level = logging.INFO if record.success else logging.WARNING
            log.log(level, "success=%s %s", "yes" if record.success else "no", record.text)
        if not self._to_kernel:
            return
        try:
            send(record)
        except OSError as error:
            if error.errno in REFUSED:
                self._to_kernel = False  # it will not change: said once
            log.warning("the host's audit log takes no record: %s", error)


def is_available() -> bool:
    """Return whether the kernel has an audit subsystem."""
    try:
        _open().close()
    except OSError:
        return False
    return True


def check_audit_level(config: DaemonConfig, origin: str) -> None:
    """Refuse to run without the audit subsystem that the configuration demands.

    Raises:
        ConfError: kind "conf_syntax".
    """
    if config.audit_level >= REQUIRED and not is_available():
        detail = f"{origin}: audit_level is {config.audit_level}: this host has no audit subsystem"
        raise ConfError("conf_syntax", detail, origin)


def send(record: AuditRecord) -> None:
    """Send a record to the kernel.

    Raises:
        OSError: it refuses it.
    """
    with _open() as end:
        end.settimeout(REPLY_S)
        end.sendto(encode(record), (0, 0))
        reply = end.recv(4096)
    kind = HEADER.unpack_from(reply)[1]
    if kind == NLMSG_ERROR:
        (code,) = REPLY_CODE.unpack_from(reply, HEADER.size)
        if code:
            raise OSError(-code, os.strerror(-code))


def encode(record: AuditRecord) -> bytes:
    """Encode a record as a netlink message."""
    program = field("exe", os.readlink("/proc/self/exe"))
    result = "success" if record.success else "failed"
    tail = f" {program} hostname=? addr=? terminal=? res={result}"
    text = record.text.encode()[: MAX_MESSAGE - len(tail)] + tail.encode() + b"\0"
    size = HEADER.size + len(text)
    return HEADER.pack(size, record.type, REQUEST_WITH_ACK, 1, 0) + text


def field(name: str, value: str) -> str:
    """Encode a field whose value others may choose: quoted, or in hexadecimal if it could deceive.

    Source: audit_encode_nv_string(3).
    """
    return f'{name}="{value}"' if is_safe(value) else hexadecimal(name, value)


def plain(name: str, value: str) -> str:
    """Encode a field that libvirt writes without quotes; what could deceive is in hexadecimal."""
    return f"{name}={value}" if is_safe(value) else hexadecimal(name, value)


def is_safe(value: str) -> bool:
    """Return whether a value can be taken for nothing but one value."""
    return all(0x21 <= byte <= 0x7E and byte != 0x22 for byte in value.encode())


def hexadecimal(name: str, value: str) -> str:
    """Encode a field in hexadecimal."""
    return f"{name}={value.encode().hex().upper()}"


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_AUDIT)
