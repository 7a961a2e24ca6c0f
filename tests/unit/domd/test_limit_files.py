"""Limits of a running guest: domd reads them itself once its worker has opened their files."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from ipc import Descriptor
from rpc.enums import DomainModificationImpact as Impact
from rpc.enums import TypedParameterType as ParamType
from rpc.params import ULLong, params
from rpc.values import TypedParam
from supervisor.messages.worker import (
    DomainStatus,
    GetStatus,
    GetTuning,
    LimitFile,
    SetMetadata,
    SetTuning,
    StatsParam,
    Tuning,
    WorkerStatus,
)
from tests.unit.domd.domd_under_test import (
    DOM,
    Domd,
    FakeWorker,
    domd,
    reported,
    successor,
)

LIVE = int(Impact.LIVE)
CONSTANT = ("emulator_period", "emulator_quota", "iothread_period", "iothread_quota")


class Group:
    """A guest's group: files that the worker opens."""

    def __init__(self, folder: Path) -> None:
        self.shares, self.bandwidth = folder / "cpu.weight", folder / "cpu.max"
        self.shares.write_text("100\n")
        self.bandwidth.write_text("max 100000\n")
        self.asked = 0

    async def read(self, _: FakeWorker, request: GetTuning) -> Tuning:
        self.asked += 1
        files = [
            LimitFile(("cpu_shares",), open_file(self.shares)),
            LimitFile(("vcpu_quota", "vcpu_period"), open_file(self.bandwidth)),
            LimitFile(("global_quota", "global_period"), open_file(self.bandwidth)),
        ]
        names = [*CONSTANT, *(field for file in files for field in file.fields)]
        zeros = [StatsParam(name, ParamType.LLONG, 0) for name in names]
        return Tuning(statistics=zeros, files=files if request.open_files else [])


def open_file(path: Path) -> Descriptor:
    return Descriptor(os.open(path, os.O_RDONLY))


async def ask(service: Domd) -> dict[str, object]:
    found: list[TypedParam] = await service.call(
        "domain_get_scheduler_parameters_flags", DOM, 9, LIVE
    )
    return {param.field: param.value.value for param in found}


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path)


async def test_a_guests_limits_are_read_again_without_its_worker(
    tmp_path: Path, group: Group
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        service.tree.scripts[GetTuning] = group.read
        await ask(service)
        group.shares.write_text("512\n")
        group.bandwidth.write_text("5000 20000\n")
        values = await ask(service)
        assert (values["cpu_shares"], values["vcpu_quota"], values["vcpu_period"]) == (
            512, 5000, 20000,
        )  # fmt: skip
        assert values["iothread_quota"] == 0
        group.bandwidth.write_text("max 100000\n")
        assert (await ask(service))["vcpu_quota"] == -1
        assert group.asked == 1


async def changed(worker: FakeWorker, _: object) -> DomainStatus:
    status = msgspec.structs.replace(worker.require(), xml_version=7)
    worker.host.run(status)
    return reported(status)


async def test_a_change_of_limits_keeps_the_open_files(tmp_path: Path, group: Group) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        service.tree.scripts[GetTuning] = group.read
        service.tree.scripts[SetTuning] = changed
        await ask(service)
        shares = params({"cpu_shares": ULLong(300)})
        await service.call("domain_set_scheduler_parameters_flags", DOM, shares, LIVE)
        await ask(service)
        assert group.asked == 1


@pytest.mark.parametrize("text", ["", "none\n", "1 2\n"])
async def test_the_worker_is_asked_when_a_file_says_nothing(
    tmp_path: Path, group: Group, text: str
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        service.tree.scripts[GetTuning] = group.read
        await ask(service)
        group.shares.write_text(text)
        assert (await ask(service))["cpu_shares"] == 0, "as the worker says"
        assert group.asked == 2


async def test_the_worker_is_asked_after_another_change_of_its_guest(
    tmp_path: Path, group: Group
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        service.tree.scripts[GetTuning] = group.read
        service.tree.scripts[SetMetadata] = changed
        await ask(service)
        await service.call("domain_set_metadata", DOM, 1, "title", None, None, LIVE)
        await ask(service)
        assert group.asked == 2, "it may have other threads now"


async def test_a_guest_that_a_worker_has_not_reported_yet_has_a_scheduler(
    tmp_path: Path, group: Group
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        await service.start()
        service.tree.scripts[GetTuning] = group.read
        service.tree.scripts[GetStatus] = hang
        async with successor(service) as again:
            assert tuple(await again.call("domain_get_scheduler_type", DOM)) == ("posix", 9)
            assert (await ask(again))["cpu_shares"] == 0, "as the worker says"
            await again.destroy()


async def hang(_: FakeWorker, __: GetStatus) -> WorkerStatus:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")
