"""Scopes of guests: their names, what systemd is asked, and what follows when it hangs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.runtime.procfs import command_line
from supervisor.workers.cgroups import scopes
from supervisor.workers.cgroups.group import Group, Limit, kept_weights
from supervisor.workers.cgroups.hierarchies import Layout
from supervisor.workers.cgroups.scope_names import (
    escape,
    machine_scope,
    scope_path,
    slice_name,
    slice_path,
    unit_of,
    weight_property,
)
from supervisor.workers.cgroups.scopes import Scope, find_scope
from tests.unit.authd.polkit_under_test import system_bus
from tests.unit.workers.cgroups.fake_tree import hybrid_layout
from tests.unit.workers.cgroups.systemd_under_test import systemd

UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
WEB = machine_scope("qemu", "vm", "web", 1, UUID)
GROUP = "machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt"


def test_a_guest_is_named_as_libvirt_names_it() -> None:
    assert (WEB.machine, WEB.unit) == ("qemu-1-web", "machine-qemu\\x2d1\\x2dweb.scope")
    assert (WEB.slice, WEB.group) == ("machine.slice", GROUP)
    assert WEB.description == "Virtual Machine qemu-1-web"
    box = machine_scope("lxc", "container", "böx_.1", 70, UUID, "/machine/prod/a-b")
    assert (box.machine, box.service) == ("lxc-70-bx.1", "libvirt-lxc")
    assert box.slice == "machine-prod-a\\x2db.slice"
    assert box.group == (
        "machine.slice/machine-prod.slice/machine-prod-a\\x2db.slice/"
        "machine-lxc\\x2d70\\x2dbx.1.scope/libvirt"
    )


def test_names_are_escaped_as_systemd_escapes_them() -> None:
    assert escape(".a.b/ü") == "\\x2ea.b\\x2f\\xc3\\xbc"
    assert slice_name("/") == "-.slice"
    assert slice_path("a-b.slice") == "a.slice/a-b.slice"


def test_a_groups_scope_is_read_from_its_path() -> None:
    assert unit_of(GROUP) == unit_of(GROUP.removesuffix("/libvirt")) == WEB.unit
    assert scope_path(f"lxc/b/{GROUP}") == f"lxc/b/{GROUP.removesuffix('/libvirt')}"
    for other in ("virtvisor.slice/qemu-1-web.libvirt-qemu", "", "a.scope/b/c"):
        assert unit_of(other) == scope_path(other) == ""


@pytest.mark.parametrize(
    ("file", "value", "kept"),
    [
        ("cpu.weight", 300, ("CPUWeight", 300)),
        ("cpu.shares", 2048, ("CPUShares", 2048)),
        ("io.weight", 500, ("IOWeight", 500)),
        ("io.bfq.weight", 100, ("IOWeight", 100)),
        ("io.bfq.weight", 1000, ("IOWeight", 10000)),
        ("blkio.bfq.weight", 5, ("BlockIOWeight", 10)),
    ],
)
def test_weights_are_given_to_systemd_in_its_terms(
    file: str, value: int, kept: tuple[str, int]
) -> None:
    assert weight_property(file, value) == kept


def test_only_weights_of_the_whole_guest_are_the_scopes() -> None:
    group = Group(Layout({}), GROUP)
    limits = [
        Limit("cpu", "cpu.weight", "300"),
        Limit("blkio", "io.weight", "8:0 40"),
        Limit("memory", "memory.max", "4096"),
    ]
    assert [group.owner_of(limit).path for limit in limits] == [
        *(GROUP.removesuffix("/libvirt"), GROUP, GROUP)
    ]
    assert kept_weights(limits) == [("CPUWeight", 300)]
    plain = Group(Layout({}), "virtvisor.slice/a")
    assert {plain.owner_of(limit).path for limit in limits} == {plain.path}


def test_systemd_makes_a_scope_around_a_process_and_machined_lists_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), systemd() as service:
            await scopes.start_unit(WEB, 77)
            await scopes.register(WEB, 78, [2, 5])
            await scopes.set_weights(WEB.unit, [("CPUWeight", 300)])
            await scopes.stop_unit(WEB.unit)
        ((name, mode, properties, others),) = service.asked("StartTransientUnit")
        wanted = dict(properties)
        assert (name, mode, others) == (WEB.unit, "fail", [])
        assert wanted["PIDs"] == ("au", [77])
        assert wanted["Slice"] == ("s", "machine.slice")
        assert wanted["Delegate"] == ("b", True)
        assert "libvirt-guests.service" in wanted["Before"][1]
        identity = bytes.fromhex(UUID.replace("-", ""))
        ((*who, interfaces),) = service.asked("RegisterMachineWithNetwork")
        assert who == ["qemu-1-web", identity, "libvirt-qemu", "vm", 78, ""]
        assert interfaces == [2, 5]
        assert service.asked("SetUnitProperties") == [(WEB.unit, True, [("CPUWeight", ("t", 300))])]
        assert service.asked("StopUnit") == [(WEB.unit, "replace")]

    asyncio.run(scenario())


def test_a_host_without_machined_has_the_scope_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), systemd(machined=False) as service:
            await scopes.register(WEB, 78)
        assert not service.calls

    asyncio.run(scenario())


@pytest.mark.parametrize("error", ["", scopes.KNOWN, "org.freedesktop.DBus.Error.ServiceUnknown"])
def test_a_running_guest_is_registered_without_a_word_if_it_was_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), systemd() as service:
            service.refuses = error
            await scopes.keep_registered(WEB, 78)
        ((name, *_, leader, _, interfaces),) = service.asked("RegisterMachineWithNetwork")
        assert (name, leader, interfaces) == ("qemu-1-web", 78, [])

    asyncio.run(scenario())
    assert not caplog.messages


def test_a_running_guest_that_cannot_be_registered_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), systemd() as service:
            service.refuses = "org.freedesktop.DBus.Error.AccessDenied"
            await scopes.keep_registered(WEB, 78)

    asyncio.run(scenario())
    (message,) = caplog.messages
    assert message.startswith("qemu-1-web is not in machined's list: ")
    assert message.endswith("GDBus.Error:org.freedesktop.DBus.Error.AccessDenied: it will not")


def test_a_job_that_fails_refuses_the_start_and_ends_the_waiting_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), systemd() as service:
            service.result = "failed"
            scope = Scope(WEB, hybrid_layout(tmp_path))
            with pytest.raises(VirError, match=r"could not start the scope .*: failed") as refused:
                await scope.make()
        assert refused.value.code is ErrorCode.INTERNAL_ERROR
        (pid,) = dict(service.asked("StartTransientUnit")[0][2])["PIDs"][1]
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(scenario())


def test_an_error_of_systemds_has_libvirts_code_and_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), systemd() as service:
            service.refuses = "org.freedesktop.systemd1.UnitExists"
            with pytest.raises(VirError) as refused:
                await scopes.start_unit(WEB, 77)
        assert refused.value.code is ErrorCode.DBUS_SERVICE
        expected = (
            "error from service: GDBus.Error:org.freedesktop.systemd1.UnitExists: it will not"
        )
        assert refused.value.message.count("error from service") == 1
        assert expected in refused.value.message

    asyncio.run(scenario())


@pytest.mark.parametrize("hangs", ["call", "job"])
def test_a_systemd_that_hangs_costs_the_deadline_and_is_named(
    tmp_path: Path, hangs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scopes, "START_S", 0.3)

    async def scenario() -> None:
        async with system_bus(tmp_path), systemd() as service:
            service.is_silent, service.result = hangs == "call", None
            with pytest.raises(VirError, match="no answer of systemd") as refused:
                await scopes.start_unit(WEB, 77)
        assert refused.value.code is ErrorCode.OPERATION_TIMEOUT

    asyncio.run(scenario())


def test_without_a_bus_a_scope_is_refused_and_the_end_of_one_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")

    async def scenario() -> None:
        with pytest.raises(VirError, match="the system's D-Bus cannot be used") as refused:
            await scopes.start_unit(WEB, 77)
        assert refused.value.code is ErrorCode.DBUS_SERVICE
        await scopes.stop_unit(WEB.unit)

    asyncio.run(scenario())
    assert f"stop {WEB.unit}" in caplog.text


def test_the_end_of_a_scope_that_has_vanished_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with system_bus(tmp_path), systemd() as service:
            service.refuses = "org.freedesktop.systemd1.NoSuchUnit"
            await scopes.stop_unit(WEB.unit)

    asyncio.run(scenario())
    assert not caplog.text


DYING_WORKER = """
import asyncio, os
from supervisor.workers.cgroups.scopes import waiting_process
async def begin():
    os.write(1, b"%d" % waiting_process().pid)
    os._exit(0)
asyncio.run(begin())
"""


def test_the_waiting_process_ends_with_the_process_that_started_it() -> None:
    command = (sys.executable, "-c", DYING_WORKER)
    pid = int(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
    deadline = time.monotonic() + 10
    while command_line(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_scope_is_found_where_systemd_has_it() -> None:
    text = f"12:pids:/lxc/b/machine.slice/{WEB.unit}\n0::/init.scope\n"
    assert find_scope(text, WEB.unit) == f"lxc/b/machine.slice/{WEB.unit}"
    with pytest.raises(OSError, match="no process is in it"):
        find_scope("0::/init.scope\n", WEB.unit)
