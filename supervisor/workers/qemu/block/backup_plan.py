"""Plans what QEMU is asked for a backup: jobs, the transaction, its NBD server. Pure.

Owns: the names of jobs and exports, the members of each command. May touch: values only.
Source: libvirt 9.0, qemu_backup.c; QEMU 7.2, blockdev-backup, nbd-server-start, block-export-add.

A push copies each disk as it was at the transaction; where the guest writes, that is copied first.
A pull copies only that, into a scratch image on top of the disk: it shows the disk as it was, and
QEMU's NBD server exports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conf.backup.model import Backup, BackupDisk, BackupServer, read_backup
from supervisor.workers.qemu.block.bitmaps import (
    Action,
    NodeBitmaps,
    checkpoint_actions,
    incremental_actions,
)
from supervisor.workers.qemu.block.nodes import backup_filter

PREFIX: Final = "backup-"
MAX_NODE_NAME: Final = 31  # of QEMU
TLS_ID: Final = "objbackup_tls0"
TLS_SECRET_ID: Final = "objbackup_tls0-secret0"

Arguments = dict[str, object]


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """One disk of a backup."""

    item: BackupDisk  # with the number of its store's nodes
    chain: tuple[str, ...]  # the nodes of the disk's images, from the top down
    store: str  # the node of the target or scratch image
    pull: bool

    @property
    def job(self) -> str:
        """The job's id, which is libvirt's."""
        return f"{PREFIX}{self.item.name}-{self.chain[0]}"

    @property
    def bitmap(self) -> str:
        """The temporary bitmap of what an incremental backup has; "" for a full one."""
        if not self.item.incremental:
            return ""
        return self.item.export_bitmap or f"{PREFIX}{self.item.name}"

    @property
    def bitmap_node(self) -> str:
        """The node that has it: the disk for its job, or the scratch image that is exported.

        A client's name for the bitmap may be that of a checkpoint of the disk.
        """
        return self.store if self.pull else self.chain[0]

    def bitmap_actions(self, found: NodeBitmaps) -> list[Action]:
        """Make that bitmap.

        Raises:
            VirError: CHECKPOINT_INCONSISTENT.
        """
        if not self.item.incremental:
            return []
        return incremental_actions(
            self.chain,
            self.item.incremental,
            found,
            disk=self.item.name,
            into=self.bitmap,
            node=self.bitmap_node,
        )

    @property
    def backup_action(self) -> Action:
        """Begin the disk's job."""
        data: Arguments = {
            "job-id": self.job,
            "device": self.chain[0],
            "target": self.store,
            "sync": "none" if self.pull else "incremental" if self.bitmap else "full",
            "auto-finalize": True,
            "auto-dismiss": False,
        }
        if self.bitmap and not self.pull:
            data["bitmap"] = self.bitmap
        if len(name := backup_filter(self.item.name)) <= MAX_NODE_NAME:
            data["filter-node-name"] = name
        return {"type": "blockdev-backup", "data": data}

    @property
    def export_arguments(self) -> Arguments:
        """Export the scratch image, with what has changed since the checkpoint."""
        arguments: Arguments = {
            "type": "nbd",
            "id": self.store,
            "node-name": self.store,
            "name": self.item.export_name or "",
            "writable": False,
        }
        if self.bitmap:
            arguments["bitmaps"] = [{"node": self.bitmap_node, "name": self.bitmap}]
        return arguments


def transaction(
    plans: Sequence[DiskPlan], found: NodeBitmaps, checkpoint: str, tops: Sequence[str]
) -> list[Action]:
    """List what happens at the moment of the backup, all of it or nothing.

    Args:
        plans: the disks.
        found: the bitmaps that QEMU has.
        checkpoint: a checkpoint that begins at the same moment; "": none.
        tops: the nodes of the top images of its disks.

    Raises:
        VirError: CHECKPOINT_INCONSISTENT.
    """
    actions = [action for plan in plans for action in plan.bitmap_actions(found)]
    if checkpoint:
        actions += checkpoint_actions(tops, checkpoint)
    return [*actions, *(plan.backup_action for plan in plans)]


def server_arguments(server: BackupServer, *, tls: bool) -> Arguments:
    """Return the arguments of `nbd-server-start`."""
    address: Arguments
    if server.transport == "unix":
        address = {"type": "unix", "data": {"path": server.socket or ""}}
    else:
        data = {"host": server.name or "", "port": str(server.port or "")}
        address = {"type": "inet", "data": data}
    return {"addr": address, **({"tls-creds": TLS_ID} if tls else {})}


def tls_arguments(folder: str, *, verify: bool, with_secret: bool) -> Arguments:
    """Return the certificates of the server, for `object-add`.

    Args:
        folder: of the certificates.
        verify: clients must have one, too.
        with_secret: the server's key is encrypted.
    """
    arguments: Arguments = {
        "qom-type": "tls-creds-x509",
        "id": TLS_ID,
        "dir": folder,
        "endpoint": "server",
        "verify-peer": verify,
    }
    if with_secret:
        arguments["passwordid"] = TLS_SECRET_ID
    return arguments


def find_store(xml: str, index: int) -> BackupDisk | None:
    """Find the disk of a backup whose target or scratch image has nodes of this number.

    Args:
        xml: <domainbackup>; "": there is no backup.
        index: the number.
    """
    if not xml:
        return None
    return next((disk for disk in read_backup(xml).selected if disk.index == index), None)


def socket_of(backup: Backup) -> str:
    """Return the path of the server's socket; "" without one."""
    server = backup.server
    return server.socket or "" if server is not None and server.transport == "unix" else ""
