"""What one start of a domain has so far.

Owns: the values that the phases of a start hand on. May touch: hook scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conf.domain import Domain, format_domain
from conf.emulator import EmulatorFacts
from supervisor.messages.worker import Start
from supervisor.objects.domain_status_xml import Status, write_status
from supervisor.runtime.emulator_user import User
from supervisor.workers.cgroups.scopes import Scope
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.cgroup.guest_cgroup import GuestCgroup
from supervisor.workers.qemu.start import live_xml
from supervisor.workers.qemu.start.hugepages import HugePages


@dataclass(slots=True)
class StartContext:
    """A start under way."""

    context: WorkerContext
    request: Start
    domain: Domain  # becomes the live XML
    facts: EmulatorFacts
    user: User
    status: Status
    domain_dir: Path
    hugepages: HugePages
    cgroup: GuestCgroup
    scope: Scope | None  # of systemd's, that the group is in
    has_private_dev: bool = False  # or will have, if the kernel allows it

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.domain.name

    @property
    def monitor_path(self) -> Path:
        """The socket of QEMU's monitor."""
        return Path(self.status.monitor)

    @property
    def manages_owners(self) -> bool:
        """Whether images are chowned to QEMU's user, and restored when it ends."""
        if self.user.is_own or not self.context.config.dynamic_ownership:
            return False
        return live_xml.allows_relabel(self.domain)

    def hook_xml(self) -> str:
        """Return the domain's XML as hook scripts get it: live, without passwords."""
        return format_domain(self.domain, live=True)

    def write_status(self) -> None:
        """Write the status XML for a worker that finds this start unfinished.

        Raises:
            OSError: it cannot be written.
        """
        write_status(self.context.paths.status(self.name), self.status, self.hook_xml())

    async def run_hook(self, operation: str) -> None:
        """Run the hook scripts; one that fails refuses the start.

        Raises:
            VirError: HOOK_SCRIPT_FAILED.
        """
        hooks = self.context.hooks
        if hooks.scripts():  # formatting a large domain takes milliseconds
            await hooks.run(self.name, operation, self.hook_xml())

    async def notify_hook(self, operation: str) -> None:
        """Run the hook scripts; a failure is logged."""
        hooks = self.context.hooks
        if hooks.scripts():
            await hooks.notify(self.name, operation, self.hook_xml())
