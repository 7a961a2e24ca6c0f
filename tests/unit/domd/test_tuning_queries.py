"""Queries of what the host gives a domain: from the definition, from the live XML, or refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rpc.errors import ErrorCode, VirError
from rpc.params import ParamType
from rpc.values import TypedParam, TypedValue
from supervisor.drivers.driver import TYPED_STRINGS
from supervisor.messages.worker import SetTuning
from tests.unit.domd.domd_under_test import DOM, XML, Domd, FakeWorker, domd

LIVE, CONFIG = 1, 2
TUNED = XML["qemu"].replace(
    "<os>",
    "<vcpu cpuset='0'>2</vcpu><cputune><vcpupin vcpu='1' cpuset='1'/></cputune>"
    "<memtune><hard_limit unit='KiB'>70000</hard_limit></memtune>"
    "<blkiotune><weight>300</weight><device><path>/dev/sda</path><weight>500</weight></device>"
    "<device><path>/dev/sdb</path></device></blkiotune>"
    "<numatune><memory mode='interleave' nodeset='0-1'/></numatune><os>",
)


async def values(service: Domd, call: str, *arguments: Any) -> dict[str, Any]:
    """Query typed parameters: the number first, then so many, as every binding does."""
    _, count = await service.call(call, DOM, *arguments[:-1], 0, arguments[-1])
    found, _ = await service.call(call, DOM, *arguments[:-1], count, arguments[-1])
    return {name: value[1] for name, value in found}


async def test_limits_are_read_from_the_definition(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define(TUNED)
        assert await values(service, "domain_get_memory_parameters", 0) == {
            "hard_limit": 70000,
            "soft_limit": 9007199254740991,
            "swap_hard_limit": 9007199254740991,
        }
        blkio = await values(service, "domain_get_blkio_parameters", TYPED_STRINGS)
        assert (blkio["weight"], blkio["device_weight"]) == (300, "/dev/sda,500")
        assert blkio["device_read_iops_sec"] == ""
        assert await values(service, "domain_get_blkio_parameters", 0) == {"weight": 300}
        assert await values(service, "domain_get_numa_parameters", TYPED_STRINGS) == {
            "numa_mode": 2,
            "numa_nodeset": "0-1",
        }


@pytest.mark.parametrize("call", ["domain_get_memory_parameters", "domain_get_blkio_parameters"])
async def test_the_limits_of_a_guest_without_cgroup_are_not_made_up(
    tmp_path: Path, call: str
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        with pytest.raises(VirError, match="cgroup") as refusal:
            await service.call(call, DOM, 0, 0)
        assert refusal.value.code is ErrorCode.OPERATION_INVALID
        assert await values(service, call, CONFIG)
        setter = call.replace("_get_", "_set_")
        name = "hard_limit" if "memory" in call else "weight"
        kind = ParamType.ULLONG if "memory" in call else ParamType.UINT
        service.tree.scripts[SetTuning] = refused
        with pytest.raises(VirError, match="not mounted"):
            await service.call(setter, DOM, [TypedParam(name, TypedValue(kind, 9))], 0)


async def refused(worker: FakeWorker, request: SetTuning) -> Any:
    raise worker.host.driver.errors.operation_invalid(f"{request.controller} is not mounted")


async def test_processors_without_a_pin_have_that_of_the_domain(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define(TUNED)
        pins, count = await service.call("domain_get_vcpu_pin_info", DOM, 9, 2, 0)
        assert count == 2
        assert pins == b"\1\0" + bytes([2 if (os.cpu_count() or 1) > 1 else 0, 0])
        assert tuple(await service.call("domain_get_emulator_pin_info", DOM, 1, 0)) == (b"\1", 1)
        for refused in (
            ("domain_get_vcpu_pin_info", 1, 0, 0),
            ("domain_get_emulator_pin_info", -1, 0),
        ):
            with pytest.raises(VirError, match="greater than zero"):
                await service.call(refused[0], DOM, *refused[1:])


async def test_a_disk_without_iotune_has_no_limits(tmp_path: Path) -> None:
    disk = "<disk type='file'><source file='/x.img'/><target dev='vda' bus='virtio'/>"
    tuned = disk + "<iotune><read_bytes_sec>7</read_bytes_sec></iotune></disk>"
    async with domd(tmp_path) as service:
        await service.define(XML["qemu"].replace("<devices>", f"<devices>{tuned}"))
        limits = await values(service, "domain_get_block_io_tune", "vda", TYPED_STRINGS)
        assert len(limits) == 20
        assert {name: value for name, value in limits.items() if value} == {"read_bytes_sec": 7}
        with pytest.raises(VirError, match="not found") as refusal:
            await values(service, "domain_get_block_io_tune", "vdb", 0)
        assert refusal.value.code is ErrorCode.INVALID_ARG


async def test_events_are_counted_where_the_definition_says_so(tmp_path: Path) -> None:
    perf = "<perf><event name='cmt' enabled='no'/><event name='cpu_cycles' enabled='yes'/></perf>"
    async with domd(tmp_path) as service:
        await service.define(XML["qemu"].replace("<os>", f"{perf}<os>"))
        events = await service.call("domain_get_perf_events", DOM, 0)
        assert len(events) == 22
        assert [name for name, value in events if value[1]] == ["cpu_cycles"]


async def test_live_and_config_exclude_each_other_in_a_query(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        with pytest.raises(VirError, match="mutually exclusive") as refusal:
            await service.call("domain_get_vcpus_flags", DOM, LIVE | CONFIG)
        assert refusal.value.code is ErrorCode.INVALID_ARG


async def test_the_guests_own_processors_are_counted_while_it_runs(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        with pytest.raises(VirError, match="only be requested for live domains") as refusal:
            await service.call("domain_get_vcpus_flags", DOM, 8)
        assert refusal.value.code is ErrorCode.INVALID_ARG


async def test_an_unknown_kind_of_metadata_is_refused_before_the_state(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        with pytest.raises(VirError, match="unknown metadata type '3'") as refusal:
            await service.call("domain_get_metadata", DOM, 3, None, LIVE)
        assert refusal.value.code is ErrorCode.INVALID_ARG


async def test_a_guest_that_was_undefined_keeps_its_inactive_xml(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        before = await service.call("domain_get_xml_desc", DOM, 2)
        await service.call("domain_undefine", DOM)
        assert await service.call("domain_is_persistent", DOM) == 0
        assert await service.call("domain_get_xml_desc", DOM, 2) == before


async def test_a_destroy_removes_the_logs_that_it_is_told_to(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        log = service.host.paths.guest_log("web")
        log.parent.mkdir(parents=True, exist_ok=True)
        doomed = [log, log.with_name("web.log.1"), log.with_name("web.log.2.gz")]
        kept = [log.with_name("web2.log"), log.with_name("web.log.old")]
        for path in (*doomed, *kept):
            path.touch()
        await service.call("domain_destroy_flags", DOM, 2)
        assert sorted(log.parent.iterdir()) == sorted(kept)
