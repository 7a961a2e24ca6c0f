"""What a domd that is started again, or loses a worker, finds out about guests that run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rpc.enums import DomainCreateFlags as Flags
from rpc.enums import DomainEventStoppedDetailType as Stopped
from rpc.enums import DomainEventType as Event
from rpc.enums import DomainShutoffReason as Shutoff
from rpc.enums import DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.domd import recovery
from supervisor.drivers.driver import Driver
from supervisor.drivers.lxc import LXC
from supervisor.drivers.qemu import QEMU
from supervisor.messages.worker import GetStatus, ShutoffInfo, Start, WorkerStatus
from tests.unit.domd.domd_under_test import DOM, XML, Domd, FakeWorker, domd, successor, until
from tests.unit.domd.test_running_domains import STARTED, assert_shut_off, starting

DRIVERS = pytest.mark.parametrize("driver", [QEMU, LXC], ids=["qemu", "lxc"])
LOST = (Event.STOPPED, Stopped.FAILED)
CRASHED = ShutoffInfo(reason=Shutoff.CRASHED, detail=Stopped.CRASHED)


async def hang(worker: FakeWorker, request: object) -> None:
    await asyncio.Event().wait()


async def running(service: Domd) -> None:
    await service.define()
    await service.start()
    service.tree.events.clear()


async def until_active(service: Domd) -> None:
    async with asyncio.timeout(10):
        while not await service.is_active():  # noqa: ASYNC110  (a client has no other way)
            await asyncio.sleep(0.005)


async def reason(service: Domd) -> int:
    _, why = await service.call("domain_get_state", DOM, 0)
    return int(why)


# A worker dies.


@DRIVERS
async def test_a_domain_whose_worker_dies_runs_on_under_its_successor(
    tmp_path: Path, driver: Driver
) -> None:
    async with domd(tmp_path, driver) as service:
        await running(service)
        dead = service.tree.worker
        dead.die()
        await until(lambda: service.tree.worker is not dead)
        assert await service.state() == DomainState.RUNNING
        await until(lambda: bool(service.tree.worker.requests))
        service.tree.worker.change_state(DomainState.PAUSED, Event.SUSPENDED, 0)
        await until(lambda: bool(service.tree.events))
        assert await service.state() == DomainState.PAUSED
        await service.destroy()
        await assert_shut_off(service)


async def test_a_guest_that_ends_with_its_worker_is_reported_stopped(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.host.end("web")
        service.tree.worker.die()
        await until(lambda: bool(service.tree.events))
        assert service.tree.events == [LOST]
        await assert_shut_off(service)


async def test_why_the_guest_ended_is_what_the_successor_reports(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.host.shutoffs["web"] = CRASHED
        service.host.end("web")
        service.tree.worker.die()
        await until(lambda: bool(service.tree.events))
        assert await reason(service) == Shutoff.CRASHED


async def test_a_guest_whose_worker_died_while_it_restarted_is_started_again(
    tmp_path: Path,
) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.host.shutoffs["web"] = ShutoffInfo(
            reason=Shutoff.SHUTDOWN, detail=Stopped.SHUTDOWN, restart=True
        )
        service.host.end("web")
        service.tree.worker.die()
        await until(lambda: STARTED in service.tree.events)
        assert await service.state() == DomainState.RUNNING


async def test_a_worker_that_is_not_respawned_is_spawned_by_the_query(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.tree.respawns = False
        service.tree.worker.die()
        await service.destroy()
        await assert_shut_off(service)


async def test_a_domain_of_unknown_state_can_be_destroyed(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.tree.scripts[GetStatus] = hang
        service.tree.worker.die()
        assert await service.state() == DomainState.RUNNING  # as it was when last heard of
        await service.destroy()
        await assert_shut_off(service)


# domd dies.


@DRIVERS
async def test_a_new_domd_finds_the_domains_that_run(tmp_path: Path, driver: Driver) -> None:
    async with domd(tmp_path, driver) as service:
        await running(service)
        number = service.host.guests["web"].id
        async with successor(service) as again:
            assert await again.state() == DomainState.RUNNING
            found = await again.call("domain_lookup_by_id", number)
            assert found.name == "web"
            assert service.tree.events == []
            await again.destroy()
            await assert_shut_off(again)


async def test_a_new_domd_gives_no_id_that_a_running_domain_has(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.host.paths.last_id_file().unlink()
        async with successor(service) as again:
            await again.destroy()
            await until(lambda: not service.tree.workers)
            await again.start()
            assert service.host.guests["web"].id == 2


async def test_a_new_domd_answers_before_a_worker_that_hangs(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.tree.scripts[GetStatus] = hang
        async with successor(service) as again:
            assert await again.state() == DomainState.RUNNING  # as the status file says
            await again.destroy()
            await until(lambda: not service.host.guests)


@DRIVERS
async def test_a_new_domd_does_not_report_a_guest_that_has_exited_as_running(
    tmp_path: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "TOGETHER_S", 0.01)

    async def reply_late(worker: FakeWorker, request: GetStatus) -> WorkerStatus:
        await asyncio.sleep(0.3)
        return WorkerStatus(shutoff=worker.shutoff)

    async with domd(tmp_path, driver) as service:
        await running(service)
        service.host.shutoffs["web"] = CRASHED
        service.host.end("web")
        service.tree.respawns = False
        service.tree.worker.die()
        service.tree.scripts[GetStatus] = reply_late
        async with successor(service) as again:
            assert await again.state() == DomainState.SHUTOFF
            assert await reason(again) == Shutoff.CRASHED


async def test_a_new_domd_knows_a_transient_domain_that_runs(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.call("domain_create_xml", XML["qemu"], 0)
        async with successor(service) as again:
            assert await again.is_active()
            assert not await again.call("domain_is_persistent", DOM)
            await again.destroy()
            with pytest.raises(VirError) as refused:
                await again.is_active()
            assert refused.value.code is ErrorCode.NO_DOMAIN


async def test_a_guest_that_ended_without_domd_and_worker_is_reported_stopped(
    tmp_path: Path,
) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.host.end("web")
        service.tree.respawns = False
        service.tree.worker.die()
        async with successor(service) as again:
            await until(lambda: LOST in service.tree.events or not service.tree.workers)
            assert not await again.is_active()
            service.host.paths.status("web").unlink()
            await assert_shut_off(again)


@DRIVERS
@pytest.mark.parametrize("slow", [False, True], ids=["quick", "longer than one query"])
async def test_a_start_goes_on_without_the_domd_that_began_it(
    tmp_path: Path, driver: Driver, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slow:
        monkeypatch.setattr(GetStatus, "deadline_s", 0.05)
    async with (
        domd(tmp_path, driver) as service,
        starting(service) as (pause, task),
        successor(service) as again,
    ):
        await asyncio.wait({task})
        assert not await again.is_active()
        if slow:
            await asyncio.sleep(0.1)
        pause.go_on.set()
        await until_active(again)
        assert await again.state() == DomainState.RUNNING
        await again.destroy()
        await assert_shut_off(again)


@DRIVERS
async def test_a_start_under_way_is_not_reported_as_running_before_it_has_succeeded(
    tmp_path: Path, driver: Driver
) -> None:
    async with domd(tmp_path, driver) as service, starting(service) as (pause, task):
        service.host.begin("web")
        async with successor(service) as again:
            await asyncio.wait({task})
            assert not await again.is_active()
            repeated = asyncio.create_task(again.start())
            pause.go_on.set()
            with pytest.raises(VirError, match="already running"):
                await repeated
            assert await again.is_active()
            await again.destroy()
            await assert_shut_off(again)


@DRIVERS
@pytest.mark.parametrize("transient", [False, True], ids=["defined", "transient"])
async def test_a_start_whose_worker_died_with_domd_has_failed(
    tmp_path: Path, driver: Driver, transient: bool
) -> None:
    async with domd(tmp_path, driver) as service:
        if not transient:
            await service.define()
        await until(lambda: transient or bool(service.tree.events))
        service.tree.events.clear()
        service.host.begin("web")
        service.host.shutoffs["web"] = ShutoffInfo(reason=Shutoff.FAILED, detail=Stopped.FAILED)
        async with successor(service) as again:
            await until(lambda: again.tree.ended == [driver.worker("web")])
            service.host.paths.status("web").unlink()  # as its worker would
            assert again.tree.events == []  # no client was told that it runs
            if transient:
                with pytest.raises(VirError) as refused:
                    await again.is_active()
                assert refused.value.code is ErrorCode.NO_DOMAIN
            else:
                assert await reason(again) == Shutoff.FAILED
                await assert_shut_off(again)


@DRIVERS
async def test_a_start_repeated_at_the_next_domd_keeps_the_guest_of_the_first(
    tmp_path: Path, driver: Driver
) -> None:
    async with (
        domd(tmp_path, driver) as service,
        starting(service) as (pause, task),
        successor(service) as again,
    ):
        await asyncio.wait({task})
        repeated = asyncio.create_task(again.start())
        await asyncio.sleep(0.05)  # the worker is still in the first start
        pause.go_on.set()
        with pytest.raises(VirError) as refusal:
            await repeated
        assert refusal.value.code is ErrorCode.OPERATION_INVALID
        assert "already running" in str(refusal.value)
        assert again.host.guests
        assert await again.state() == DomainState.RUNNING
        await again.destroy()
        await assert_shut_off(again)


async def test_a_start_repeated_after_the_first_failed_without_domd_succeeds(
    tmp_path: Path,
) -> None:
    async def refuse(worker: FakeWorker, request: Start) -> None:
        raise VirError(ErrorCode.INTERNAL_ERROR, "no such disk", ErrorDomain.QEMU)

    async with domd(tmp_path) as service, starting(service) as (pause, task):
        pause.default = refuse
        async with successor(service) as again:
            await asyncio.wait({task})
            repeated = asyncio.create_task(again.start())
            await asyncio.sleep(0.05)
            service.tree.scripts.clear()
            pause.go_on.set()
            await repeated
            assert await again.state() == DomainState.RUNNING
            await again.destroy()


async def test_the_worker_of_a_start_that_fails_without_domd_is_ended(tmp_path: Path) -> None:
    async def refuse(worker: FakeWorker, request: Start) -> None:
        raise VirError(ErrorCode.INTERNAL_ERROR, "no such disk", ErrorDomain.QEMU)

    async with domd(tmp_path) as service, starting(service) as (pause, task):
        pause.default = refuse
        async with successor(service) as again:
            await asyncio.wait({task})
            pause.go_on.set()
            await until(lambda: not service.tree.workers)
            await assert_shut_off(again)


@pytest.mark.parametrize("connected", [True, False])
async def test_a_domain_whose_client_disconnected_without_domd_is_destroyed(
    tmp_path: Path, connected: bool
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start(Flags.START_AUTODESTROY)
        if not connected:
            service.tree.clients.clear()
        async with successor(service) as again:
            if connected:
                assert await again.is_active()
            else:
                await until(lambda: not service.host.guests)


async def test_a_status_file_that_cannot_be_read_hides_no_other_domain(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        service.host.paths.status("other").write_text("<domstatus")
        async with successor(service) as again:
            assert await again.is_active()
