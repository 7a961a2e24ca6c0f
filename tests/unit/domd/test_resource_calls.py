"""Calls that change processors and memory: which definition, in which order, with which error."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rpc.enums import DomainMemoryModFlags, DomainVcpuFlags
from rpc.enums import DomainModificationImpact as Impact
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import Int, UInt, ULLong, params
from supervisor.messages.worker_resources import PinThreads, SetBalloon, SetVcpuCount
from tests.unit.domd.domd_under_test import DOM, XML, Domd, FakeWorker, domd

BOTH = Impact.LIVE | Impact.CONFIG
INACTIVE = 2  # VIR_DOMAIN_XML_INACTIVE


def definition(more: str) -> str:
    return XML["qemu"].replace("<os>", f"{more}<os>")


async def running(service: Domd, vcpu: str = "<vcpu current='1'>4</vcpu>") -> None:
    await service.define(definition(vcpu))
    await service.start()


def live_requests(service: Domd, kind: type) -> list[Any]:
    return [request for request in service.tree.worker.requests if isinstance(request, kind)]


async def refuse(worker: FakeWorker, request: object) -> object:
    raise VirError(ErrorCode.OPERATION_TIMEOUT, "the guest keeps it", ErrorDomain.QEMU)


def test_vcpus_that_the_guest_keeps_stay_in_the_definition(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await running(service)
            service.tree.scripts[SetVcpuCount] = refuse
            with pytest.raises(VirError, match="the guest keeps it"):
                await service.call("domain_set_vcpus_flags", DOM, 3, BOTH)
            assert "<vcpu current='1'>4</vcpu>" in await service.xml(INACTIVE)
            del service.tree.scripts[SetVcpuCount]
            await service.call("domain_set_vcpus_flags", DOM, 3, BOTH)
            assert "<vcpu current='3'>4</vcpu>" in await service.xml(INACTIVE)
            assert [request.count for request in live_requests(service, SetVcpuCount)] == [3, 3]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("count", "flags", "words", "code"),
    [
        (5, BOTH, "for the live domain: 5 > 4", ErrorCode.INVALID_ARG),
        (5, Impact.CONFIG, "for the persistent domain: 5 > 4", ErrorCode.INVALID_ARG),
        (0, Impact.LIVE, "must not be zero", ErrorCode.INVALID_ARG),
        (2, DomainVcpuFlags.MAXIMUM, "is required by flag", ErrorCode.INVALID_ARG),
        (2, DomainVcpuFlags.GUEST | Impact.CONFIG, "mutually exclusive", ErrorCode.INVALID_ARG),
        (
            2,
            DomainVcpuFlags.MAXIMUM | BOTH,
            "of a live domain can't be modified",
            ErrorCode.OPERATION_UNSUPPORTED,
        ),
    ],
)
def test_impossible_numbers_of_vcpus_change_nothing(
    tmp_path: Path, count: int, flags: int, words: str, code: ErrorCode
) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await running(service)
            before = await service.xml(INACTIVE)
            with pytest.raises(VirError, match=words) as refused:
                await service.call("domain_set_vcpus_flags", DOM, count, flags)
            assert refused.value.code is code
            assert await service.xml(INACTIVE) == before
            assert live_requests(service, SetVcpuCount) == []

    asyncio.run(story())


def test_a_vcpu_of_the_definition_is_disabled_by_its_number(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await running(service, "<vcpu>3</vcpu>")
            await service.call("domain_set_vcpu", DOM, "2", 0, Impact.CONFIG)
            assert "<vcpu id='2' enabled='no' hotpluggable='yes'/>" in await service.xml(INACTIVE)
            for cpumap, words in (
                ("7", "vcpu 7 is not present in persistent config"),
                ("^1", "no vcpus selected"),
                ("x", "Failed to parse bitmap 'x'"),
                ("5000", "Failed to parse bitmap '5000'"),
            ):
                with pytest.raises(VirError, match=words):
                    await service.call("domain_set_vcpu", DOM, cpumap, 0, Impact.CONFIG)

    asyncio.run(story())


def test_pins_are_of_cpus_that_the_client_names(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await running(service)
            await service.call("domain_pin_vcpu_flags", DOM, 3, b"\x05", BOTH)
            await service.call("domain_pin_emulator", DOM, b"\x02", Impact.CONFIG)
            xml = await service.xml(INACTIVE)
            assert "<vcpupin vcpu='3' cpuset='0,2'/>" in xml
            assert "<emulatorpin cpuset='1'/>" in xml
            pins = live_requests(service, PinThreads)
            assert [(pin.number, pin.cpuset) for pin in pins] == [(3, "0,2")]
            with pytest.raises(VirError, match="Empty cpu list for pinning"):
                await service.call("domain_pin_vcpu_flags", DOM, 0, b"\0", BOTH)
            with pytest.raises(VirError, match="out of range of live cpu count 4"):
                await service.call("domain_pin_vcpu_flags", DOM, 4, b"\x01", BOTH)

    asyncio.run(story())


def test_memory_above_the_maximum_is_refused_and_the_maximum_takes_the_rest_along(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            maximum = DomainMemoryModFlags.MAXIMUM
            with pytest.raises(VirError, match="cannot set memory higher than max memory"):
                await service.call("domain_set_memory_flags", DOM, 65537, Impact.CONFIG)
            await service.call("domain_set_memory_flags", DOM, 60000, Impact.CONFIG)
            await service.call("domain_set_memory_flags", DOM, 50000, maximum)
            xml = await service.xml(INACTIVE)
            assert "<memory unit='KiB'>50000</memory>" in xml
            assert "<currentMemory unit='KiB'>50000</currentMemory>" in xml
            await service.start()
            with pytest.raises(VirError, match="cannot resize the maximum memory"):
                await service.call("domain_set_max_memory", DOM, 60000)
            await service.call("domain_set_memory", DOM, 40000)
            assert [request.kib for request in live_requests(service, SetBalloon)] == [40000]

    asyncio.run(story())


def test_iothread_parameters_are_checked_before_anything_changes(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define(definition("<iothreads>1</iothreads>"))
            name = "domain_set_iothread_params"
            pool = params({"thread_pool_min": Int(2), "thread_pool_max": Int(4)})
            await service.call(name, DOM, 1, pool, Impact.CONFIG)
            line = "<iothread id='1' thread_pool_min='2' thread_pool_max='4'/>"
            assert line in await service.xml()
            for given, words in (
                (params({"poll_grow": UInt(2)}), "configuring persistent polling"),
                (params({"poll_max_ns": ULLong(1 << 40)}), "poll-max-ns"),
                (params({"thread_pool_min": Int(-2)}), "equal to or greater than -1"),
                (params({"thread_pool_min": Int(5)}), "can't be greater than thread_pool_max"),
            ):
                with pytest.raises(VirError, match=words):
                    await service.call(name, DOM, 1, given, Impact.CONFIG)
            with pytest.raises(VirError, match="cannot find IOThread '3'"):
                await service.call(name, DOM, 3, pool, Impact.CONFIG)
            assert line in await service.xml()

    asyncio.run(story())
