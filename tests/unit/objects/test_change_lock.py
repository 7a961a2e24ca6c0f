"""One change of a domain at a time."""

from __future__ import annotations

import asyncio

import pytest

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.objects.change_lock import ChangeLock


def test_a_second_change_waits_for_the_first() -> None:
    async def story() -> list[str]:
        job, order = ChangeLock("guest", ServiceErrors(ErrorDomain.QEMU)), list[str]()
        inside = asyncio.Event()

        async def first() -> None:
            async with job.hold("start"):
                inside.set()
                await asyncio.sleep(0)
                order.append("first")

        async def second() -> None:
            await inside.wait()
            async with job.hold("destroy"):
                order.append("second")

        await asyncio.gather(first(), second())
        return order

    assert asyncio.run(story()) == ["first", "second"]


def test_a_change_that_cannot_have_its_turn_names_who_has_it() -> None:
    async def story() -> VirError:
        job = ChangeLock("guest", ServiceErrors(ErrorDomain.QEMU))
        async with job.hold("start"):
            with pytest.raises(VirError) as refused:
                async with job.hold("undefine", timeout_s=0.01):
                    pass
        return refused.value

    refusal = asyncio.run(story())
    assert refusal.code is ErrorCode.OPERATION_TIMEOUT
    assert "held by start" in refusal.message


def test_a_change_that_fails_gives_its_turn_back() -> None:
    async def story() -> str:
        job = ChangeLock("guest", ServiceErrors(ErrorDomain.QEMU))
        with pytest.raises(RuntimeError):
            async with job.hold("start"):
                raise RuntimeError
        async with job.hold("start", timeout_s=0.01):
            return job.holder

    assert asyncio.run(story()) == "start"
