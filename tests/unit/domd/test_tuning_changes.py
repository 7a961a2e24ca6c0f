"""Setting limits: what is refused, what the worker is asked for, what the definition becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain import Domain, parse_domain
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import ParamType, typed
from rpc.values import TypedParam
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.messages.worker import SetTuning, StatsParam
from supervisor.objects.tuning_edits import (
    check_bandwidth,
    check_memory_limits,
    edit_blkio,
    edit_memory,
    edit_running,
    edit_scheduler,
    parse_device_values,
    scheduler_event,
)
from tests.unit.domd.domd_under_test import DOM, XML, Domd, domd

LIVE, CONFIG = 1, 2
ERRORS = ServiceErrors(ErrorDomain.QEMU, "qemu")
UNLIMITED = 9007199254740991


def domain(inner: str = "") -> Domain:
    return parse_domain(XML["qemu"].replace("<os>", f"{inner}<os>"))


def parameters(**values: int | str) -> list[TypedParam]:
    return typed(values)


async def config_xml(service: Domd) -> str:
    xml: str = await service.call("domain_get_xml_desc", DOM, 1 << 1)
    return xml


async def test_a_change_of_both_reaches_the_guest_and_the_definition(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        values = parameters(cpu_shares=700, vcpu_quota=20000, global_period=0)
        await service.call("domain_set_scheduler_parameters_flags", DOM, values, LIVE | CONFIG)
        request = service.tree.worker.requests[-1]
        assert isinstance(request, SetTuning)
        assert request.controller == "cpu"
        assert list(request.tunable) == [
            StatsParam("cputune.cpu_shares", ParamType.ULLONG, 700),
            StatsParam("cputune.vcpu_quota", ParamType.LLONG, 20000),
        ]
        assert request.values == {"cpu_shares": 700, "vcpu_quota": 20000, "global_period": 0}
        assert "<shares>700</shares>" in await config_xml(service)
        await service.call("domain_set_memory_parameters", DOM, parameters(soft_limit=5000), CONFIG)
        assert "<soft_limit unit='KiB'>5000</soft_limit>" in await config_xml(service)


async def test_a_refused_value_changes_nothing(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        before = await config_xml(service)
        for call, values in (
            ("domain_set_scheduler_parameters_flags", parameters(vcpu_period=999)),
            ("domain_set_memory_parameters", parameters(swap_hard_limit=5000)),
            ("domain_set_blkio_parameters", parameters(device_weight="/dev/sda")),
        ):
            with pytest.raises(VirError) as refusal:
                await service.call(call, DOM, values, CONFIG)
            assert refusal.value.code is ErrorCode.INVALID_ARG
            with pytest.raises(VirError) as refusal:
                await service.call(call, DOM, values, LIVE)
            assert refusal.value.code is ErrorCode.OPERATION_INVALID  # it is off
        assert await config_xml(service) == before


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("vcpu_quota", 1, "value of 'vcpu_quota' is out of range [1000, 17592186044415]"),
        ("global_period", 1000001, "value of 'global_period' is out of range [1000, 1000000]"),
    ],
)
def test_bandwidth_out_of_the_kernels_range_is_refused(name: str, value: int, words: str) -> None:
    with pytest.raises(VirError) as refusal:
        check_bandwidth({name: value}, ERRORS)
    assert refusal.value.detail == words
    check_bandwidth({"vcpu_quota": -5, "vcpu_period": 0, "cpu_shares": 1}, ERRORS)


def test_nothing_is_0_in_a_definition_and_no_change_of_a_guest() -> None:
    tuned = "<cputune><period>5000</period></cputune>"
    stored, live = domain(tuned), domain(tuned)
    edit_scheduler(stored, {"vcpu_period": 0, "emulator_quota": -1}, live=False)
    edit_scheduler(live, {"vcpu_period": 0, "emulator_quota": -1}, live=True)
    assert stored.cputune is not None
    assert live.cputune is not None
    assert (stored.cputune.period, live.cputune.period) == (None, 5000)
    assert stored.cputune.emulator_quota == live.cputune.emulator_quota == -1
    assert scheduler_event({"vcpu_period": 0}) == []


def test_swap_is_compared_with_what_the_domain_has_now() -> None:
    now = domain("<memtune><hard_limit unit='KiB'>5000</hard_limit></memtune>")
    check_memory_limits({"swap_hard_limit": 5000}, now, ERRORS)
    check_memory_limits({"hard_limit": UNLIMITED}, now, ERRORS)
    with pytest.raises(VirError, match="lower than or equal to swap_hard_limit"):
        check_memory_limits({"swap_hard_limit": 4999}, now, ERRORS)
    with pytest.raises(VirError, match="lower than or equal"):
        check_memory_limits({"swap_hard_limit": 4999}, domain(), ERRORS)  # memory is unlimited


def test_no_limit_is_left_out_of_a_definition_but_written_to_a_guest() -> None:
    tuned = "<memtune><hard_limit unit='KiB'>5000</hard_limit></memtune>"
    stored, live = domain(tuned), domain(tuned)
    edit_memory(stored, {"hard_limit": UNLIMITED}, keeps_unlimited=False)
    edit_memory(live, {"hard_limit": UNLIMITED}, keeps_unlimited=True)
    assert stored.memtune is not None
    assert stored.memtune.hard_limit is None
    assert live.memtune is not None
    assert live.memtune.hard_limit is not None
    assert live.memtune.hard_limit.amount == UNLIMITED


def test_devices_limits_are_merged_and_0_removes_one() -> None:
    edited = domain(
        "<blkiotune><device><path>/dev/sda</path><weight>5</weight></device></blkiotune>"
    )
    edit_blkio(
        edited,
        {
            "weight": 300,
            "device_read_bytes_sec": "/dev/sda,5000000000,/dev/sdb,7",
            "device_weight": "/dev/sda,0",
        },
        ERRORS,
    )
    assert edited.blkiotune is not None
    assert edited.blkiotune.weight == 300
    assert [
        (device.path, device.weight, device.read_bytes_sec) for device in edited.blkiotune.devices
    ] == [("/dev/sda", None, 5000000000), ("/dev/sdb", None, 7)]
    edit_blkio(edited, {"device_read_bytes_sec": "/dev/sda,0"}, ERRORS)
    assert [device.path for device in edited.blkiotune.devices] == ["/dev/sdb"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "unable to parse blkio device 'device_weight' ''"),
        ("/dev/sda", "unable to parse blkio device 'device_weight' '/dev/sda'"),
        ("/dev/sda,x", "invalid value 'x' for parameter 'device_weight' of device '/dev/sda'"),
        ("/dev/sda,-1", "invalid value '-1' for parameter 'device_weight' of device '/dev/sda'"),
        (
            "/d,4294967296",
            "invalid value '4294967296' for parameter 'device_weight' of device '/d'",
        ),
    ],
)
def test_device_values_that_cannot_be_parsed_are_named(text: str, words: str) -> None:
    with pytest.raises(VirError) as refusal:
        parse_device_values("device_weight", text, ERRORS)
    assert refusal.value.detail == words


def test_a_container_has_no_more_memory_than_its_maximum() -> None:
    container = domain()
    edit_running(container, "", {"current_memory": container.memory}, ERRORS)
    assert container.current_memory is not None
    assert container.current_memory.amount == container.memory
    with pytest.raises(VirError, match="higher than max memory"):
        edit_running(container, "", {"current_memory": container.memory + 1}, ERRORS)


def test_numa_memory_is_set_by_the_words_of_the_xml() -> None:
    guest = domain("<numatune><memory mode='restrictive' nodeset='0-1'/></numatune>")
    edit_running(guest, "cpuset", {"nodeset": "0"}, ERRORS)
    assert guest.numatune is not None
    assert guest.numatune.memory is not None
    assert (guest.numatune.memory.mode, guest.numatune.memory.nodeset) == ("restrictive", "0")
