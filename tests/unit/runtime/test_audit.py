"""Records of the host's audit log, as the kernel gets them."""

from __future__ import annotations

import errno
import logging
import socket
import struct
from typing import Any

import pytest

from conf.errors import ConfError
from conf.settings import DaemonConfig
from supervisor.runtime import audit
from supervisor.runtime.audit import AuditLog, AuditRecord, RecordType, check_audit_level, field

STOP = AuditRecord(RecordType.VIRT_CONTROL, 'virt=kvm op=stop vm="web"')


class Kernel:
    """Answers each message with an error number, as the audit subsystem does; 0: accepted."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.messages: list[bytes] = []

    def socket(self) -> Any:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        kernel = self

        class End:
            def __enter__(self) -> End:
                return self

            def __exit__(self, *_: object) -> None:
                self.close()

            def settimeout(self, seconds: float) -> None:
                ours.settimeout(seconds)

            def sendto(self, data: bytes, address: tuple[int, int]) -> None:
                kernel.messages.append(data)
                head = struct.pack("=IHHII", 36, 2, 0, 1, 0)
                theirs.send(head + struct.pack("=i", -kernel.code) + data[:16])

            def recv(self, size: int) -> bytes:
                return ours.recv(size)

            def close(self) -> None:
                ours.close()
                theirs.close()

        return End()


def kernel_of(monkeypatch: pytest.MonkeyPatch, code: int = 0) -> Kernel:
    kernel = Kernel(code)
    monkeypatch.setattr(audit, "_open", kernel.socket)
    return kernel


def without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EPROTONOSUPPORT, "no audit")

    monkeypatch.setattr(audit, "_open", refuse)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("web", 'vm="web"'),
        ("a b", "vm=612062"),
        ('a"b', "vm=612262"),
        ("a\nres=success", "vm=610A7265733D73756363657373"),
        ("é", "vm=C3A9"),
    ],
)
def test_a_name_cannot_forge_another_field(value: str, encoded: str) -> None:
    assert field("vm", value) == encoded


def test_the_kernel_gets_a_netlink_message_with_the_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = kernel_of(monkeypatch)
    AuditLog(level=1).write(STOP)
    AuditLog(level=1).write(AuditRecord(RecordType.VIRT_CONTROL, "op=start", success=False))
    first, second = kernel.messages
    assert struct.unpack_from("=IHHII", first) == (len(first), 2500, 5, 1, 0)
    text = first[16:].decode()
    assert text.startswith('virt=kvm op=stop vm="web" exe="/')
    assert text.endswith(" hostname=? addr=? terminal=? res=success\0")
    assert second.decode(errors="replace").endswith("res=failed\0")


def test_level_0_and_a_host_without_audit_write_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernel_of(monkeypatch)
    assert not AuditLog(level=0).is_enabled
    without_kernel(monkeypatch)
    assert not AuditLog(level=1).is_enabled
    assert not kernel.messages


def test_the_daemons_log_gets_records_if_it_is_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_kernel(monkeypatch)
    with caplog.at_level(logging.INFO):
        written = AuditLog(level=1, logs=True)
        written.write(STOP)
        written.write(AuditRecord(RecordType.VIRT_CONTROL, "op=start", success=False))
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", 'success=yes virt=kvm op=stop vm="web"'),
        ("WARNING", "success=no op=start"),
    ]


def test_a_refusal_is_logged_once_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = kernel_of(monkeypatch, errno.EPERM)
    written = AuditLog(level=1)
    written.write(STOP)
    written.write(STOP)
    assert len(kernel.messages) == 1
    assert caplog.text.count("the host's audit log takes no record") == 1


def test_level_2_demands_the_audit_subsystem(monkeypatch: pytest.MonkeyPatch) -> None:
    without_kernel(monkeypatch)
    check_audit_level(DaemonConfig(audit_level=1), "libvirtd.conf")
    with pytest.raises(ConfError, match="this host has no audit subsystem"):
        check_audit_level(DaemonConfig(audit_level=2), "libvirtd.conf")
