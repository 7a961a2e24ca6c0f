"""Starting, stopping and restarting domains, with each death of a worker on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from ipc import BusError
from rpc.enums import DomainCreateFlags as Flags
from rpc.enums import DomainEventResumedDetailType as Resumed
from rpc.enums import DomainEventStartedDetailType as Started
from rpc.enums import DomainEventStoppedDetailType as Stopped
from rpc.enums import DomainEventSuspendedDetailType as Suspended
from rpc.enums import DomainEventType as Event
from rpc.enums import DomainShutoffReason, DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.domd.guest_launcher import MAX_LAUNCHES
from supervisor.drivers.driver import Driver
from supervisor.drivers.lxc import LXC
from supervisor.drivers.qemu import QEMU
from supervisor.messages.root import ReplaceWorker
from supervisor.messages.worker import Destroy, GetStatus, Start
from tests.unit.domd.domd_under_test import DOM, UUID, XML, Domd, FakeWorker, Tree, domd, until

RESUMED, STARTED = (Event.RESUMED, Resumed.UNPAUSED), (Event.STARTED, Started.BOOTED)
SUSPENDED, STOPPED = (Event.SUSPENDED, Suspended.PAUSED), (Event.STOPPED, Stopped.DESTROYED)
DRIVERS = pytest.mark.parametrize("driver", [QEMU, LXC], ids=["qemu", "lxc"])


def failed(detail: str) -> VirError:
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)


class Pause:
    """A script that stops before and after what a worker does by default."""

    def __init__(self, tree: Tree, message: type, default: Callable[..., Any]) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self.done = asyncio.Event()
        self.default = default
        tree.scripts[message] = self

    async def __call__(self, worker: FakeWorker, request: Any) -> Any:
        self.reached.set()
        await self.go_on.wait()
        result = await self.default(worker, request)
        self.done.set()
        return result


@asynccontextmanager
async def starting(
    service: Domd, flags: int = 0
) -> AsyncIterator[tuple[Pause, asyncio.Task[None]]]:
    """A start under way: the worker has the request."""
    await service.define()
    pause = Pause(service.tree, Start, FakeWorker.launch)
    task = asyncio.create_task(service.start(flags))
    await pause.reached.wait()
    try:
        yield pause, task
    finally:
        task.cancel()


async def assert_shut_off(service: Domd) -> None:
    """Nothing is left of the domain's guest, and it can be started."""
    assert not await service.is_active()
    assert not service.host.guests
    await until(lambda: not service.tree.workers)
    await until(lambda: not service.tree.keep_running)
    service.tree.scripts.clear()
    await service.start()
    assert await service.state() == DomainState.RUNNING


# Start.


@DRIVERS
@pytest.mark.parametrize("paused", [False, True])
async def test_start_publishes_the_events_of_its_driver(
    tmp_path: Path, driver: Driver, paused: bool
) -> None:
    async with domd(tmp_path, driver) as service:
        await service.define()
        service.tree.events.clear()
        await service.start(Flags.START_PAUSED if paused else 0)
        running = [RESUMED, STARTED] if driver is QEMU else [STARTED]
        await until(lambda: len(service.tree.events) >= (2 if paused else len(running)))
        assert service.tree.events == ([STARTED, SUSPENDED] if paused else running)
        assert await service.state() == (DomainState.PAUSED if paused else DomainState.RUNNING)
        assert service.tree.keep_running


async def test_a_domain_that_runs_is_not_started_again(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        with pytest.raises(VirError, match="domain is already running") as refused:
            await service.start()
        assert refused.value.code is ErrorCode.OPERATION_INVALID


@DRIVERS
async def test_a_start_that_the_worker_refuses_leaves_the_domain_off(
    tmp_path: Path, driver: Driver
) -> None:
    async def refuse(worker: FakeWorker, request: Start) -> None:
        raise failed("no such disk")

    async with domd(tmp_path, driver) as service:
        await service.define()
        service.tree.scripts[Start] = refuse
        with pytest.raises(VirError, match="no such disk"):
            await service.start()
        assert service.tree.ended == [driver.worker("web")]
        await assert_shut_off(service)


@DRIVERS
async def test_a_worker_that_dies_before_it_made_the_guest_fails_the_start(
    tmp_path: Path, driver: Driver
) -> None:
    async def die(worker: FakeWorker, request: Start) -> None:
        worker.die()

    async with domd(tmp_path, driver) as service:
        await service.define()
        service.tree.scripts[Start] = die
        with pytest.raises(VirError, match="died; try again") as refused:
            await service.start()
        assert refused.value.code is ErrorCode.OPERATION_FAILED
        await assert_shut_off(service)


@DRIVERS
async def test_a_worker_that_dies_after_it_made_the_guest_has_started_it(
    tmp_path: Path, driver: Driver
) -> None:
    async def launch_and_die(worker: FakeWorker, request: Start) -> None:
        await worker.launch(request)
        worker.die()

    async with domd(tmp_path, driver) as service:
        await service.define()
        service.tree.scripts[Start] = launch_and_die
        await service.start()
        assert await service.state() == DomainState.RUNNING
        await service.destroy()
        await assert_shut_off(service)


async def test_a_worker_that_the_root_cannot_spawn_fails_the_start(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        service.tree.spawn_error = failed("cannot fork")
        with pytest.raises(VirError, match="cannot fork"):
            await service.start()
        service.tree.spawn_error = None
        await assert_shut_off(service)


async def test_a_guest_that_ends_before_its_start_is_reported_is_started_then_stopped(
    tmp_path: Path,
) -> None:
    async def launch_and_end(worker: FakeWorker, request: Start) -> Any:
        status = await worker.launch(request)
        worker.end_guest()
        return status

    async with domd(tmp_path) as service:
        await service.define()
        service.tree.events.clear()
        service.tree.scripts[Start] = launch_and_end
        await service.start()
        await until(lambda: STOPPED in service.tree.events)
        assert service.tree.events == [RESUMED, STARTED, STOPPED]
        await assert_shut_off(service)


async def test_a_state_that_changes_before_the_start_is_reported_follows_it(tmp_path: Path) -> None:
    async def launch_and_pause(worker: FakeWorker, request: Start) -> Any:
        status = await worker.launch(request)
        worker.change_state(DomainState.PAUSED, *SUSPENDED)
        return status

    async with domd(tmp_path) as service:
        await service.define()
        service.tree.events.clear()
        service.tree.scripts[Start] = launch_and_pause
        await service.start()
        await until(lambda: SUSPENDED in service.tree.events)
        assert service.tree.events == [RESUMED, STARTED, SUSPENDED]
        assert await service.state() == DomainState.PAUSED


async def test_an_older_status_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        worker = service.tree.worker
        worker.change_state(DomainState.PAUSED, *SUSPENDED, reported_ns=1 << 62)
        worker.change_state(DomainState.RUNNING, *RESUMED, reported_ns=1)
        await until(lambda: service.tree.events[-1] == RESUMED)
        assert await service.state() == DomainState.PAUSED


async def test_a_state_is_recorded_without_the_xml_that_has_not_changed(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        before = await service.xml()
        requests = len(service.tree.worker.requests)
        service.tree.worker.change_state(DomainState.PAUSED, *SUSPENDED, live_xml="")
        await until(lambda: service.tree.events[-1] == SUSPENDED)
        assert await service.state() == DomainState.PAUSED
        assert await service.xml() == before
        assert len(service.tree.worker.requests) == requests


async def test_xml_of_which_no_report_came_is_asked_for(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        worker = service.tree.worker
        changed = worker.require().live_xml.replace("<os>", "<title>new</title><os>")
        service.host.run(msgspec.structs.replace(worker.require(), live_xml=changed, xml_version=7))
        worker.change_state(DomainState.PAUSED, *SUSPENDED, live_xml="", xml_version=7)
        await until(lambda: any(isinstance(r, GetStatus) for r in worker.requests))
        async with asyncio.timeout(10):
            while "<title>new</title>" not in await service.xml():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


# Replacement of a worker, which follows a start where the driver says so.


async def replaced_by_none(worker: FakeWorker, request: ReplaceWorker) -> None:
    raise failed("the new worker does not come up")


async def test_a_domain_whose_new_worker_does_not_answer_is_started_and_confirmed_later(
    tmp_path: Path,
) -> None:
    async with domd(tmp_path, LXC) as service:
        await service.define()
        service.tree.scripts[ReplaceWorker] = replaced_by_none
        await service.start()
        assert await service.state() == DomainState.RUNNING
        await service.destroy()
        await assert_shut_off(service)


async def test_a_guest_that_ends_while_its_worker_is_replaced_is_started_then_stopped(
    tmp_path: Path,
) -> None:
    async def guest_ends(worker: FakeWorker, request: ReplaceWorker) -> object:
        worker.die()
        service.host.end("web")
        return None

    async with domd(tmp_path, LXC) as service:
        await service.define()
        service.tree.events.clear()
        service.tree.scripts[ReplaceWorker] = guest_ends
        await service.start()
        await until(lambda: len(service.tree.events) == 2)
        assert service.tree.events == [STARTED, (Event.STOPPED, Stopped.FAILED)]
        await assert_shut_off(service)


# Destroy while the domain starts.


@DRIVERS
async def test_destroying_a_domain_that_starts_cancels_the_start(
    tmp_path: Path, driver: Driver
) -> None:
    async with domd(tmp_path, driver) as service, starting(service) as (_, task):
        await service.destroy()
        with pytest.raises(VirError, match="was destroyed while it was started") as refused:
            await task
        assert refused.value.code is ErrorCode.OPERATION_FAILED
        await assert_shut_off(service)


async def test_a_second_destroy_waits_until_the_start_is_undone(tmp_path: Path) -> None:
    async with domd(tmp_path) as service, starting(service) as (_, task):
        await asyncio.gather(service.destroy(), service.destroy())
        await asyncio.wait({task})
        await assert_shut_off(service)


async def test_a_guest_that_was_just_made_is_destroyed_with_its_start(tmp_path: Path) -> None:
    async def made(worker: FakeWorker, request: Start) -> Any:
        status = await worker.launch(request)
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return status  # too late to undo

    async with domd(tmp_path) as service:
        reached = asyncio.Event()
        await service.define()
        service.tree.scripts[Start] = made
        task = asyncio.create_task(service.start())
        await reached.wait()
        await service.destroy()
        await asyncio.wait({task})
        await assert_shut_off(service)


async def test_a_destroy_at_the_moment_when_the_start_succeeds_ends_the_guest(
    tmp_path: Path,
) -> None:
    async with domd(tmp_path) as service, starting(service) as (pause, task):
        pause.go_on.set()
        await pause.done.wait()
        await service.destroy()
        await asyncio.wait({task})
        await assert_shut_off(service)


async def test_a_worker_that_is_replaced_while_its_start_is_undone_leaves_no_guest(
    tmp_path: Path,
) -> None:
    async def replaced_late(worker: FakeWorker, request: ReplaceWorker) -> Any:
        reached.set()
        await asyncio.Event().wait()

    async def ends_before_it_answers(worker: FakeWorker, request: Destroy) -> Any:
        del service.tree.scripts[Destroy]  # its successor answers
        worker.die()
        await asyncio.Event().wait()

    async with domd(tmp_path, LXC) as service:
        reached = asyncio.Event()
        await service.define()
        service.tree.scripts[ReplaceWorker] = replaced_late
        service.tree.scripts[Destroy] = ends_before_it_answers
        task = asyncio.create_task(service.start())
        await reached.wait()
        await service.destroy()
        await asyncio.wait({task})
        assert service.host.guests == {}
        await assert_shut_off(service)


@DRIVERS
@pytest.mark.parametrize("when", ["before the guest", "after the guest"])
async def test_a_worker_that_dies_while_its_start_is_undone_leaves_nothing(
    tmp_path: Path, driver: Driver, when: str
) -> None:
    async def die_when_cancelled(worker: FakeWorker, request: Start) -> None:
        if when == "after the guest":
            await worker.launch(request)
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            worker.die()

    async with domd(tmp_path, driver) as service:
        reached = asyncio.Event()
        await service.define()
        service.tree.scripts[Start] = die_when_cancelled
        task = asyncio.create_task(service.start())
        await reached.wait()
        await service.destroy()
        await asyncio.wait({task})
        await assert_shut_off(service)


async def test_a_start_whose_caller_gives_up_is_undone(tmp_path: Path) -> None:
    async with domd(tmp_path) as service, starting(service) as (_, task):
        task.cancel()
        await asyncio.wait({task})
        await until(lambda: not service.tree.workers)
        await assert_shut_off(service)


# Destroy.


@DRIVERS
@pytest.mark.parametrize("guest_ends", [False, True])
async def test_a_worker_that_dies_while_it_destroys_is_asked_again(
    tmp_path: Path, driver: Driver, guest_ends: bool
) -> None:
    async def die_once(worker: FakeWorker, request: Destroy) -> None:
        del service.tree.scripts[Destroy]
        if guest_ends:
            service.host.end("web")
        worker.die()

    async with domd(tmp_path, driver) as service:
        await service.define()
        await service.start()
        service.tree.scripts[Destroy] = die_once
        await service.destroy()
        await assert_shut_off(service)


async def test_a_domain_that_is_off_is_not_destroyed(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        with pytest.raises(VirError, match="domain is not running"):
            await service.destroy()


async def test_a_graceful_destroy_that_fails_leaves_the_domain_running(tmp_path: Path) -> None:
    async def refuse(worker: FakeWorker, request: Destroy) -> None:
        assert request.graceful
        raise VirError(ErrorCode.OPERATION_FAILED, "it ignores SIGTERM", ErrorDomain.QEMU)

    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        service.tree.scripts[Destroy] = refuse
        with pytest.raises(VirError, match="ignores SIGTERM"):
            await service.call("domain_destroy_flags", DOM, 1)
        assert await service.state() == DomainState.RUNNING
        service.tree.scripts.clear()
        await service.destroy()
        await assert_shut_off(service)


# The guest's own end.


@DRIVERS
async def test_a_guest_that_reboots_into_a_restart_is_started_again(
    tmp_path: Path, driver: Driver
) -> None:
    async with domd(tmp_path, driver) as service:
        await service.define()
        await service.start()
        service.tree.events.clear()
        service.tree.worker.end_guest(DomainShutoffReason.SHUTDOWN, Stopped.SHUTDOWN, restart=True)
        await until(lambda: STARTED in service.tree.events)
        assert service.tree.events[0] == (Event.STOPPED, Stopped.SHUTDOWN)
        assert await service.state() == DomainState.RUNNING
        assert service.host.guests["web"].id == 2


async def test_a_restart_that_fails_leaves_the_domain_off(tmp_path: Path) -> None:
    async def refuse(worker: FakeWorker, request: Start) -> None:
        raise failed("no such disk")

    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        service.tree.scripts[Start] = refuse
        service.tree.worker.end_guest(restart=True)
        await until(lambda: len(service.tree.ended) == 2)
        await assert_shut_off(service)


async def test_a_guest_that_crashes_says_why_it_is_off(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        service.tree.worker.end_guest(DomainShutoffReason.CRASHED, Stopped.CRASHED)
        await until(lambda: not service.tree.workers)
        state = await service.call("domain_get_state", DOM, 0)
        assert tuple(state) == (DomainState.SHUTOFF, DomainShutoffReason.CRASHED)


# Transient domains.


async def test_a_transient_domain_is_gone_with_its_guest(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.call("domain_create_xml", XML["qemu"], 0)
        assert await service.is_active()
        await service.destroy()
        with pytest.raises(VirError) as refused:
            await service.is_active()
        assert refused.value.code is ErrorCode.NO_DOMAIN


def with_tpm(service: Domd, attributes: str = "") -> tuple[str, Path]:
    """The document of a domain with an emulated TPM, and the TPM's state, which is there."""
    tpm = f"<tpm model='tpm-crb'><backend type='emulator' version='2.0'{attributes}/></tpm>"
    state = service.host.paths.tpm_state(UUID)
    (state / "tpm2").mkdir(parents=True, exist_ok=True)
    (state / "tpm2/tpm2-00.permall").write_bytes(b"keys")
    return XML["qemu"].replace("</devices>", f"{tpm}</devices>"), state


async def test_the_tpm_of_a_transient_domain_goes_with_its_guest(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        xml, state = with_tpm(service)
        await service.call("domain_create_xml", xml, 0)
        assert state.exists()
        await service.destroy()
        await until(lambda: not state.exists())


async def test_a_persistent_tpm_outlives_a_transient_domain(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        xml, state = with_tpm(service, " persistent_state='yes'")
        await service.call("domain_create_xml", xml, 0)
        await service.destroy()
        await until(lambda: not service.tree.workers)
        await service.call("domain_create_xml", xml, 0)  # waits for what is being forgotten
        assert state.exists()


async def test_a_running_guest_keeps_its_tpm_when_its_domain_is_undefined(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        xml, state = with_tpm(service)
        await service.define(xml)
        await service.start()
        await service.call("domain_undefine_flags", DOM, 0)
        assert state.exists()
        await service.destroy()
        await until(lambda: not state.exists())


async def test_a_transient_domain_whose_start_fails_is_not_listed(tmp_path: Path) -> None:
    async def die(worker: FakeWorker, request: Start) -> None:
        worker.die()

    async with domd(tmp_path) as service:
        service.tree.scripts[Start] = die
        with pytest.raises(VirError, match="died"):
            await service.call("domain_create_xml", XML["qemu"], 0)
        with pytest.raises(VirError) as refused:
            await service.is_active()
        assert refused.value.code is ErrorCode.NO_DOMAIN


async def test_a_transient_domain_is_restarted_from_its_live_definition(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.call("domain_create_xml", XML["qemu"], 0)
        service.tree.worker.end_guest(restart=True)
        await until(lambda: len(service.tree.events) == 5)
        assert await service.state() == DomainState.RUNNING


# Autodestroy.


@pytest.mark.parametrize("others", [1, 0], ids=["its client", "rpcd"])
async def test_a_domain_ends_with_the_connection_that_started_it(
    tmp_path: Path, others: int
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start(Flags.START_AUTODESTROY)
        if others:
            service.tree.close_client("client-1")
        else:
            service.tree.restart_rpcd()
        await until(lambda: not service.host.guests)
        await until(lambda: not service.tree.workers)


async def test_a_client_that_disconnects_while_its_domain_starts_ends_it(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        async with starting(service, Flags.START_AUTODESTROY) as (pause, task):
            service.tree.close_client("client-1")
            # The event and the destroy that follows need no answer: wait for what they do.
            await until(lambda: bool(service.tree.ended) or task.done())
            pause.go_on.set()
            with pytest.raises((VirError, BusError)):
                await task
        assert not service.host.guests
        assert not await service.is_active()


async def test_another_clients_disconnection_ends_nothing(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        service.tree.clients.append("client-2")
        await service.start(Flags.START_AUTODESTROY)
        service.tree.close_client("client-2")
        await service.call("domain_get_state", DOM, 0)
        assert await service.is_active()


async def test_more_starts_than_the_host_can_do_at_once_wait_their_turn(tmp_path: Path) -> None:
    started = [0, 0]  # at the moment, at most
    full = asyncio.Event()

    async def launch(worker: FakeWorker, request: Start) -> Any:
        started[0] += 1
        started[1] = max(started)
        if started[0] == MAX_LAUNCHES:
            full.set()
        await full.wait()
        await asyncio.sleep(0.01)  # one too many would come now
        started[0] -= 1
        return await worker.launch(request)

    async with domd(tmp_path) as service:
        service.tree.scripts[Start] = launch
        documents = [
            XML["qemu"].replace(UUID, str(uuid4())).replace("<name>web", f"<name>web{number}")
            for number in range(MAX_LAUNCHES + 5)
        ]
        await asyncio.gather(*(service.call("domain_create_xml", xml, 0) for xml in documents))
        assert started == [0, MAX_LAUNCHES]
        assert await service.call("connect_num_of_domains") == len(documents)
