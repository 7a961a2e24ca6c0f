"""Starts the processes that serve a guest's devices, before QEMU or at a hotplug.

Owns: the order: state, socket, process, status. May touch: those processes and their files; hostd.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from conf.domain import Domain
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.tpm import Tpm
from supervisor.messages.hostd import GetSecret
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.emulator_user import User
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.external import swtpm, virtiofsd
from supervisor.workers.qemu.external.processes import start_process
from supervisor.workers.qemu.outputs import Outputs


@dataclass(slots=True)
class ExternalDevices:
    """Starts them for one guest."""

    context: WorkerContext
    status: Status
    domain_dir: Path
    user: User  # QEMU's
    tpm_sockets: dict[str, str] = field(default_factory=dict)  # by alias

    async def start_all(self, domain: Domain) -> None:
        """Start what the domain's devices need.

        Raises:
            ConfError: a program is not there. VirError: it fails, or a secret is not there.
        """
        for filesystem in virtiofsd.served(domain):
            await self.start_virtiofsd(filesystem)
        for tpm in swtpm.emulated(domain):
            await self.start_swtpm(domain, tpm)

    async def start_virtiofsd(self, filesystem: Filesystem) -> None:
        """Start virtiofsd for a completed <filesystem>; QEMU finds its socket by the alias."""
        name = f"{self.status.name}-{filesystem.alias}-virtiofsd.log"
        log_path = self.context.paths.guest_log(self.status.name).with_name(name)
        with (
            virtiofsd.listen_for(filesystem, self.domain_dir, self.user) as end,
            contextlib.ExitStack() as closing,
        ):
            log_fd = await Outputs(self.context).open_stdio(log_path, closing)
            command = virtiofsd.plan_command(filesystem, end.fileno(), log_fd)
            start_process(command, self.status, self.domain_dir)

    async def start_swtpm(self, domain: Domain, tpm: Tpm) -> None:
        """Start swtpm for an emulated TPM, at the first start with swtpm_setup."""
        paths, alias = self.context.paths, tpm.alias or ""
        version = swtpm.version_of(tpm)
        emulator = swtpm.Emulator(
            alias=alias,
            version=version,
            state_dir=paths.tpm_state(self.status.uuid) / swtpm.FOLDERS[version],
            log_path=paths.swtpm_log(self.status.name),
            vmid=f"{self.status.name}:{self.status.uuid}",
            user=swtpm.swtpm_user(self.context.config),
            secret=await self._secret(tpm),
        )
        if swtpm.make_state_dir(emulator):
            await swtpm.set_up(emulator)
        path = paths.swtpm_socket(self.status.id, self.status.name)
        with swtpm.listen_for(path, self.user) as end, contextlib.ExitStack() as closing:
            command = swtpm.plan_command(emulator, end.fileno(), closing)
            start_process(command, self.status, self.domain_dir)
        self.tpm_sockets[alias] = str(path)

    async def _secret(self, tpm: Tpm) -> bytes | None:
        if tpm.backend.encryption is None:
            return None
        request = GetSecret(usage_type="vtpm", uuid=tpm.backend.encryption, usage="")
        return (await self.context.node.link("hostd").call(request)).value
