"""A worker that has grown is renewed while its domain has nothing under way."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rpc.enums import DomainState
from supervisor.messages.calls import ClientReply, ClientRequest
from supervisor.messages.worker import GetStatus, Suspend, WorkerGrown
from tests.unit.domd.domd_under_test import DOM, FakeWorker, domd, until


async def test_a_grown_worker_is_renewed_and_its_successor_asked(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        tree = service.tree
        first = tree.workers["qemu:web"]
        first.node.publish(WorkerGrown(uuid=DOM.uuid))
        await until(lambda: tree.renewed == ["qemu:web"])
        await until(lambda: tree.workers.get("qemu:web") not in (None, first))
        second = tree.workers["qemu:web"]
        await until(lambda: any(isinstance(request, GetStatus) for request in second.requests))
        assert await service.state() == DomainState.RUNNING
        await service.destroy()


async def test_calls_wait_for_the_end_of_a_renewal_and_hold_up_the_next(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def answer_slowly(worker: FakeWorker, _: ClientRequest) -> ClientReply:
            worker.node.publish(WorkerGrown(uuid=DOM.uuid))
            asked.set()
            await go_on.wait()
            return ClientReply(payload=bytes(40))

        tree = service.tree
        first = tree.workers["qemu:web"]
        tree.scripts[ClientRequest] = answer_slowly
        call = asyncio.create_task(service.call("domain_block_stats", DOM, "vda"))
        await asked.wait()
        assert await service.state() == DomainState.RUNNING  # domd has had the event by now
        assert tree.renewed == []
        go_on.set()
        assert await call == (0, 0, 0, 0, 0)
        first.node.publish(WorkerGrown(uuid=DOM.uuid))
        await until(lambda: tree.renewed == ["qemu:web"])
        # Sent to the predecessor it would be lost.
        assert await service.call("domain_block_stats", DOM, "vda") == (0, 0, 0, 0, 0)


async def test_a_worker_is_not_renewed_beside_a_change(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        asked = asyncio.Event()
        go_on = asyncio.Event()

        async def suspend_slowly(worker: FakeWorker, _: Suspend) -> object:
            worker.node.publish(WorkerGrown(uuid=DOM.uuid))
            asked.set()
            await go_on.wait()
            raise TimeoutError

        service.tree.scripts[Suspend] = suspend_slowly
        call = asyncio.create_task(service.call("domain_suspend", DOM))
        await asked.wait()
        assert await service.state() == DomainState.RUNNING  # domd has had the event by now
        assert service.tree.renewed == []
        go_on.set()
        await asyncio.wait({call})
        call.exception()
