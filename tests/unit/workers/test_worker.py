"""A worker's phases: each request, and each end of the guest, in each of them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from conf.errors import ConfError
from ipc import Descriptor, PeerGone
from rpc.enums import DomainShutoffReason as Shutoff
from rpc.enums import DomainState
from rpc.errors import ErrorCode, VirError
from supervisor.messages.worker import (
    AttachDevice,
    Destroy,
    DomainStopped,
    FreshBoot,
    GetStatus,
    IncomingMigration,
    RestoreImage,
    SetMetadata,
    Start,
    StartSource,
    StatusChanged,
    Suspend,
)
from supervisor.objects.domain_phase import DomainPhase
from tests.unit.domd.domd_under_test import until
from tests.unit.workers.worker_under_test import XML, Domd, domd

START = Start(xml=XML, id=3)


class Pause:
    """Stops an operation of the driver until the test goes on."""

    def __init__(self) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.go_on.wait()


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def running_pid(service: Domd) -> int:
    return service.worker.guest().process.pid


# Start.


async def test_a_started_guest_is_reported_and_has_a_status_file(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        status = await service.call(START)
        assert (status.id, status.state, status.name) == (3, DomainState.RUNNING, "web")
        assert service.worker.phase is DomainPhase.RUNNING
        assert service.status_file.exists()


async def test_a_guest_that_runs_is_not_started_again(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.call(START)
        with pytest.raises(VirError, match="domain is already running") as refused:
            await service.call(START)
        assert refused.value.code is ErrorCode.OPERATION_INVALID


async def test_a_start_under_way_is_not_begun_twice(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        pause = service.ops.before_launch = Pause()
        first = asyncio.create_task(service.call(START))
        await pause.reached.wait()
        with pytest.raises(VirError, match="domain is already running"):
            await service.call(START)
        pause.go_on.set()
        await first


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfError("config_unsupported", "no such CPU"), ErrorCode.CONFIG_UNSUPPORTED),
        (VirError(ErrorCode.INTERNAL_ERROR, "QEMU exited"), ErrorCode.INTERNAL_ERROR),
    ],
)
async def test_a_start_that_fails_leaves_the_worker_ready_for_another(
    tmp_path: Path, error: Exception, code: ErrorCode
) -> None:
    async def fail() -> None:
        raise error

    async def succeed() -> None:
        """Do nothing."""

    async with domd(tmp_path) as service:
        service.ops.before_launch = fail
        with pytest.raises(VirError) as refused:
            await service.call(START)
        assert refused.value.code is code
        assert (await service.call(GetStatus())).guest is None
        service.ops.before_launch = succeed
        await service.call(START)


async def test_a_start_that_is_cancelled_is_over(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        pause = service.ops.before_launch = Pause()
        task = asyncio.create_task(service.call(START))
        await pause.reached.wait()
        task.cancel()
        assert (await service.call(GetStatus())).guest is None
        assert service.worker.phase is DomainPhase.SHUT_OFF


@pytest.mark.parametrize("request_", [GetStatus(), Destroy(), Suspend(), AttachDevice(xml="<x/>")])
async def test_a_request_waits_for_the_start_that_is_under_way(
    tmp_path: Path, request_: object
) -> None:
    async with domd(tmp_path) as service:
        pause = service.ops.before_launch = Pause()
        start = asyncio.create_task(service.call(START))
        await pause.reached.wait()
        request = asyncio.create_task(service.call(request_))
        await asyncio.sleep(0.01)
        assert not request.done()
        pause.go_on.set()
        await start
        await request


@pytest.mark.parametrize(
    ("source", "operation"),
    [
        (lambda: IncomingMigration(uri="tcp:[::]:49152"), "an incoming migration"),
        (lambda: RestoreImage(image=Descriptor(os.dup(0)), path="/x"), "restoring a domain"),
    ],
    ids=["incoming", "restore"],
)
async def test_a_source_that_the_driver_does_not_implement_is_refused(
    tmp_path: Path, source: object, operation: str
) -> None:
    async with domd(tmp_path) as service:
        made: StartSource = source()  # type: ignore[operator]
        with pytest.raises(VirError, match=f"{operation} is not implemented by the qemu") as error:
            await service.call(Start(xml=XML, id=3, source=made))
        assert error.value.code is ErrorCode.OPERATION_UNSUPPORTED
        assert service.worker.phase is DomainPhase.SHUT_OFF
        await service.call(Start(xml=XML, id=3, source=FreshBoot()))


# Without a guest.


@pytest.mark.parametrize(
    "request_",
    [
        Destroy(),
        Suspend(),
        AttachDevice(xml="<x/>"),
        SetMetadata(field="title", text=None),
    ],
)
async def test_a_worker_without_a_guest_refuses(tmp_path: Path, request_: object) -> None:
    async with domd(tmp_path) as service:
        with pytest.raises(VirError, match="domain is not running") as refused:
            await service.call(request_)
        assert refused.value.code is ErrorCode.OPERATION_INVALID


# The guest's end.


async def test_a_destroyed_guest_is_cleaned_up_and_reported_before_the_reply(
    tmp_path: Path,
) -> None:
    async with domd(tmp_path) as service:
        await service.call(START)
        pid = running_pid(service)
        await service.call(Destroy())
        assert service.ops.cleaned_up == ["web"]
        assert [event.reason for event in service.events if isinstance(event, DomainStopped)] == [
            Shutoff.DESTROYED
        ]
        assert not service.status_file.exists()
        assert not is_running(pid)
        assert service.worker.phase is DomainPhase.SHUT_OFF
        shutoff = (await service.call(GetStatus())).shutoff
        assert shutoff.reason == Shutoff.DESTROYED


async def test_a_guest_that_dies_is_cleaned_up_and_reported_crashed(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.call(START)
        os.kill(running_pid(service), signal.SIGKILL)
        await until(lambda: bool(service.events))
        (event,) = service.events
        assert isinstance(event, DomainStopped)
        assert event.reason == Shutoff.CRASHED
        assert service.worker.phase is DomainPhase.SHUT_OFF


async def test_while_a_guest_is_cleaned_up_the_domain_is_stopping(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.call(START)
        pause = service.ops.before_clean_up = Pause()
        destroys = [asyncio.create_task(service.call(Destroy())) for _ in range(2)]
        await pause.reached.wait()
        assert service.worker.phase is DomainPhase.STOPPING
        with pytest.raises(VirError, match="domain is already running"):
            await service.call(START)
        pause.go_on.set()
        await asyncio.gather(*destroys)
        assert service.ops.cleaned_up == ["web"]
        await service.call(START)


async def test_a_hotplug_goes_on_when_its_caller_is_gone(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.call(START)
        pause = service.ops.change = Pause()
        task = asyncio.create_task(service.call(AttachDevice(xml="<x/>")))
        await pause.reached.wait()
        task.cancel()
        await asyncio.wait({task})
        lock = service.worker.guest().device_lock
        assert lock.locked()
        pause.go_on.set()
        await until(lambda: not lock.locked())


async def test_a_change_that_outlives_its_domd_is_published(tmp_path: Path) -> None:
    """The next domd may have asked for the status before the change was made."""
    async with domd(tmp_path) as service:
        await service.call(START)
        pause = service.ops.change = Pause()
        former = service.join("former")
        task = asyncio.create_task(former.link("qemu:web").call(AttachDevice(xml="<x/>")))
        await pause.reached.wait()
        former.close()
        with pytest.raises(PeerGone):
            await task
        service.events.clear()
        pause.go_on.set()
        await until(lambda: bool(service.events))
        event = service.events[0]
        assert isinstance(event, StatusChanged)
        assert event.status.live_xml == service.worker.guest().live_xml


# A predecessor's guest.


async def test_a_guest_of_a_predecessor_is_driven_and_ended(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        service.reconnect()
        assert service.worker.phase is DomainPhase.RUNNING
        assert (await service.call(GetStatus())).guest.id == 7
        await service.call(Destroy())
        assert (await service.call(GetStatus())).guest is None


async def test_the_end_of_a_predecessors_guest_is_reported(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        service.reconnect(guest_runs=False)
        reported = await service.call(GetStatus())
        assert reported.guest is None
        assert reported.shutoff.reason == Shutoff.CRASHED
        assert not service.status_file.exists()
        await service.call(START)
