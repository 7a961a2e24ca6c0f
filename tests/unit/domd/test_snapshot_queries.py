"""What clients ask of a domain before anything else, of domains without any snapshot or job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rpc.errors import ErrorCode, VirError
from rpc.params import ParamType
from rpc.values import DomainSnapshot
from supervisor.drivers.lxc import LXC
from supervisor.messages.worker import GetTuning, StatsParam, Tuning
from tests.unit.domd.domd_under_test import DOM, UUID, XML, FakeWorker, domd

EMPTY: tuple[tuple[str, tuple[Any, ...], Any], ...] = (
    ("domain_snapshot_num", (0x7FF,), 0),
    ("domain_snapshot_list_names", (10, 0), []),
    ("domain_list_all_snapshots", (1, 0), ([], 0)),
    ("domain_has_current_snapshot", (0,), 0),
    ("domain_list_all_checkpoints", (1, 0xF), ([], 0)),
    ("domain_has_managed_save_image", (0,), 0),
    ("domain_get_launch_security_info", (0,), []),
    ("domain_get_messages", (3,), []),
    ("domain_get_iothread_info", (0,), ([], 0)),
)
REFUSED: tuple[tuple[str, tuple[Any, ...], ErrorCode], ...] = (
    ("domain_snapshot_num", (0x800,), ErrorCode.INVALID_ARG),
    ("domain_snapshot_current", (0,), ErrorCode.NO_DOMAIN_SNAPSHOT),
    ("domain_snapshot_lookup_by_name", ("one", 0), ErrorCode.NO_DOMAIN_SNAPSHOT),
    ("domain_list_all_checkpoints", (1, 0x10), ErrorCode.INVALID_ARG),
    ("domain_checkpoint_lookup_by_name", ("one", 0), ErrorCode.NO_DOMAIN_CHECKPOINT),
    ("domain_backup_get_xml_desc", (0,), ErrorCode.NO_DOMAIN_BACKUP),
    ("domain_set_launch_security_state", ([], 0), ErrorCode.OPERATION_UNSUPPORTED),
    ("domain_managed_save_get_xml_desc", (0,), ErrorCode.OPERATION_INVALID),
    ("domain_managed_save_remove", (0,), ErrorCode.SYSTEM_ERROR),
)


@pytest.mark.parametrize("runs", [False, True], ids=["off", "running"])
async def test_a_domain_without_snapshots_and_jobs_has_empty_lists(
    tmp_path: Path, runs: bool
) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        if runs:
            await service.start()
        for name, arguments, expected in EMPTY:
            reply = await service.call(name, DOM, *arguments)
            assert (tuple(reply) if isinstance(expected, tuple) else reply) == expected, name
        for name, arguments, code in REFUSED:
            with pytest.raises(VirError) as refusal:
                await service.call(name, DOM, *arguments)
            assert refusal.value.code is code, name


STOCK = """<!-- WARNING -->
<domainsnapshot>
  <name>{name}</name>
  <state>shutoff</state>
  <creationTime>{time}</creationTime>
  <memory snapshot='no'/>
  <active>{active}</active>
</domainsnapshot>
"""


async def test_snapshots_of_a_stock_daemon_are_listed(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        folder = service.host.paths.snapshots("web")
        folder.mkdir(parents=True)
        (folder / "two.xml").write_text(STOCK.format(name="two", time=2, active=1))
        (folder / "one.xml").write_text(STOCK.format(name="one", time=1, active=0))
        (folder / "damaged.xml").write_text("<domainsnapshot/>")
        assert await service.call("domain_snapshot_list_names", DOM, 10, 0) == ["one", "two"]
        assert (await service.call("domain_snapshot_current", DOM, 0)).name == "two"
        xml = await service.call("domain_snapshot_get_xml_desc", DomainSnapshot("one", DOM), 0)
        assert "<name>one</name>" in xml
        assert f"<uuid>{UUID}</uuid>" in xml
        for name, arguments in (("is_current", 0), ("has_metadata", 1), ("num_children", 0)):
            call = f"domain_snapshot_{name}"
            assert await service.call(call, DomainSnapshot("one", DOM), 0) == arguments, name
        with pytest.raises(VirError) as refusal:
            await service.call("domain_snapshot_get_parent", DomainSnapshot("one", DOM), 0)
        assert refusal.value.code is ErrorCode.NO_DOMAIN_SNAPSHOT


async def test_the_labels_of_a_running_guest_are_one_for_each_model(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        assert tuple(await service.call("domain_get_security_label_list", DOM)) == ([], 0)
        await service.start()
        labels, count = await service.call("domain_get_security_label_list", DOM)
        assert count == len(labels) == 2


async def test_a_running_guests_disk_has_no_block_job(tmp_path: Path) -> None:
    disk = "<disk type='file'><source file='/x.img'/><target dev='vda' bus='virtio'/></disk>"
    async with domd(tmp_path) as service:
        await service.define(XML["qemu"].replace("<devices>", f"<devices>{disk}"))
        with pytest.raises(VirError, match="domain is not running"):
            await service.call("domain_get_block_job_info", DOM, "vda", 0)
        await service.start()
        for path in ("vda", "/x.img"):
            assert list(await service.call("domain_get_block_job_info", DOM, path, 1)) == [0] * 5
        with pytest.raises(VirError, match="disk 'vdb' not found in domain") as refusal:
            await service.call("domain_get_block_job_info", DOM, "vdb", 0)
        assert refusal.value.code is ErrorCode.INVALID_ARG


async def test_the_scheduler_of_a_guest_without_cgroup_is_known_only_while_it_is_off(
    tmp_path: Path,
) -> None:
    tune = "<cputune><shares>100</shares><emulator_quota>-1</emulator_quota></cputune><os>"
    async with domd(tmp_path) as service:
        await service.define(XML["qemu"].replace("<os>", tune))
        assert tuple(await service.call("domain_get_scheduler_type", DOM)) == ("posix", 9)
        found = await service.call("domain_get_scheduler_parameters", DOM, 9)
        values = {param.field: param.value.value for param in found}
        assert len(values) == 9
        assert (values["cpu_shares"], values["emulator_quota"]) == (100, -1)
        await service.define()
        await service.start()
        for name in ("domain_get_scheduler_type", "domain_get_scheduler_parameters"):
            arguments = (9,) if name.endswith("parameters") else ()
            with pytest.raises(VirError, match=r"(?i)cgroup cpu controller is not mounted"):
                await service.call(name, DOM, *arguments)


async def test_a_containers_scheduler_has_three_parameters(tmp_path: Path) -> None:
    async def limited(_: FakeWorker, request: GetTuning) -> Tuning:
        return Tuning(statistics=[StatsParam("cpu_shares", ParamType.ULLONG, 512)])

    async with domd(tmp_path, LXC) as service:
        await service.define()
        await service.start()
        service.tree.scripts[GetTuning] = limited
        assert tuple(await service.call("domain_get_scheduler_type", DOM)) == ("posix", 3)
        found = await service.call("domain_get_scheduler_parameters", DOM, 9)
        assert {param.field: param.value.value for param in found} == {
            "cpu_shares": 512, "vcpu_period": 0, "vcpu_quota": 0,
        }  # fmt: skip


async def test_a_call_for_the_guest_of_an_off_domain_refuses_flags_first(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        for flags, code in (
            (0, ErrorCode.OPERATION_INVALID),
            (1 << 9, ErrorCode.INVALID_ARG),
        ):
            with pytest.raises(VirError) as refusal:
                await service.call("domain_get_time", DOM, flags)
            assert refusal.value.code is code


async def test_the_size_of_an_off_domains_image_is_read_from_it(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    disk = f"<disk type='file'><source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
    empty = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
    async with domd(tmp_path) as service:
        await service.define(XML["qemu"].replace("<devices>", f"<devices>{disk}{empty}"))
        for path in ("vda", str(image)):
            reply = await service.call("domain_get_block_info", DOM, path, 0)
            assert tuple(reply) == (0, 1 << 20, 1 << 20)
        for path in ("vdb", "sda", ""):
            with pytest.raises(VirError) as refusal:
                await service.call("domain_get_block_info", DOM, path, 0)
            assert refusal.value.code is ErrorCode.INVALID_ARG
        (record,) = await service.call("connect_get_all_domain_stats", [], 0, 0)
        stats = {param.field: param.value.value for param in record.params}
        assert (stats["block.count"], stats["block.0.name"]) == (2, "vda")
        assert stats["block.0.capacity"] == stats["block.0.physical"] == 1 << 20
        assert "block.1.path" not in stats
        assert stats["balloon.current"] == stats["balloon.maximum"]
        assert await service.call("connect_get_all_domain_stats", [DOM], 0, 1) == []  # active ones
        for doms in ([], [DOM]):
            with pytest.raises(VirError) as refusal:
                await service.call("connect_get_all_domain_stats", doms, 0, 0x100)
            assert refusal.value.code is ErrorCode.INVALID_ARG
        image.unlink()
        with pytest.raises(VirError) as refusal:
            await service.call("domain_get_block_info", DOM, "vda", 0)
        assert refusal.value.code is ErrorCode.SYSTEM_ERROR
