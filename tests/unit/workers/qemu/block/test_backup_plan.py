"""What QEMU is asked for a backup."""

from __future__ import annotations

import pytest

from conf.backup.model import Backup, BackupDisk, BackupServer, parse_backup
from conf.mapper import parse_root
from rpc.errors import VirError
from supervisor.objects.backup_job import DiskState, outcome_state
from supervisor.workers.qemu.block.backup_plan import (
    DiskPlan,
    server_arguments,
    socket_of,
    tls_arguments,
    transaction,
)
from supervisor.workers.qemu.block.bitmaps import Bitmap

TOP = "libvirt-1-format"
NOTED = {TOP: {"c1": Bitmap(name="c1", recording=True, persistent=True)}}


def plan(*, pull: bool, since: str | None = None) -> DiskPlan:
    """The plan of one disk."""
    item = BackupDisk(name="vda", incremental=since, export_name="vda")
    return DiskPlan(item, (TOP, "libvirt-2-format"), "libvirt-5-format", pull)


def job_of(plan: DiskPlan) -> dict[str, object]:
    """The members of the disk's job."""
    data = plan.backup_action["data"]
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("pull", "since", "sync"),
    [
        (False, None, "full"),
        (False, "c1", "incremental"),
        (True, None, "none"),
        (True, "c1", "none"),
    ],
)
def test_a_job_copies_what_its_kind_says(pull: bool, since: str | None, sync: str) -> None:
    data = job_of(plan(pull=pull, since=since))
    assert (data["sync"], data["device"], data["job-id"]) == (sync, TOP, f"backup-vda-{TOP}")
    assert data["auto-dismiss"] is False
    assert ("bitmap" in data) is (sync == "incremental")


def test_errors_of_a_disk_under_backup_name_the_disk() -> None:
    assert job_of(plan(pull=True))["filter-node-name"] == "libvirt-backup-vda"
    long = DiskPlan(BackupDisk(name="v" * 40), (TOP,), "libvirt-5-format", True)
    assert "filter-node-name" not in job_of(long)


def test_everything_of_a_backup_is_one_moment() -> None:
    actions = transaction([plan(pull=True, since="c1")], NOTED, "c2", [TOP])
    kinds = [action["type"] for action in actions]
    assert kinds == [
        "block-dirty-bitmap-add",  # what has changed since c1
        "block-dirty-bitmap-merge",
        "block-dirty-bitmap-add",  # the checkpoint c2
        "blockdev-backup",
    ]


def test_without_the_bitmap_there_is_no_incremental_backup() -> None:
    with pytest.raises(VirError, match="missing or broken bitmap 'c9' for disk 'vda'"):
        transaction([plan(pull=False, since="c9")], NOTED, "", [])


def test_a_scratch_image_is_exported_with_its_changes() -> None:
    full, changed = plan(pull=True), plan(pull=True, since="c1")
    assert full.export_arguments == {
        "type": "nbd",
        "id": "libvirt-5-format",
        "node-name": "libvirt-5-format",
        "name": "vda",
        "writable": False,
    }
    noted = {"node": "libvirt-5-format", "name": "backup-vda"}
    assert changed.export_arguments["bitmaps"] == [noted]


def test_a_server_is_a_socket_or_a_port_with_or_without_tls() -> None:
    unix = BackupServer(transport="unix", socket="/s")
    tcp = BackupServer(transport="tcp", name="::1", port=10809)
    assert server_arguments(unix, tls=False) == {"addr": {"type": "unix", "data": {"path": "/s"}}}
    assert server_arguments(tcp, tls=True) == {
        "addr": {"type": "inet", "data": {"host": "::1", "port": "10809"}},
        "tls-creds": "objbackup_tls0",
    }
    assert tls_arguments("/pki", verify=True, with_secret=False)["endpoint"] == "server"
    assert "passwordid" in tls_arguments("/pki", verify=True, with_secret=True)


def test_only_a_unix_server_has_a_socket() -> None:
    def read(server: str) -> Backup:
        return parse_backup(
            parse_root(Backup, f"<domainbackup mode='pull'>{server}</domainbackup>")
        )

    assert socket_of(read("<server transport='unix' socket='/s'/>")) == "/s"
    assert not socket_of(read("<server name='localhost' port='1'/>"))


@pytest.mark.parametrize(
    ("states", "pull", "outcome"),
    [
        ([DiskState.COMPLETE, DiskState.COMPLETE], False, DiskState.COMPLETE),
        ([DiskState.COMPLETE, DiskState.CANCELLED], False, DiskState.CANCELLED),
        ([DiskState.FAILED, DiskState.CANCELLED], False, DiskState.FAILED),
        ([DiskState.CANCELLED, DiskState.CANCELLED], True, DiskState.COMPLETE),
        ([DiskState.FAILED, DiskState.CANCELLED], True, DiskState.FAILED),
    ],
)
def test_one_failed_disk_fails_the_backup(
    states: list[DiskState], pull: bool, outcome: DiskState
) -> None:
    assert outcome_state(states, pull=pull) is outcome
