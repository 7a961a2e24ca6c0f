"""What domd may ask of a QEMU guest's worker, beyond what it asks of every one.

Owns: the one guest. May touch: it, through the modules beside this one.
May not touch: definitions, other guests.
"""

from __future__ import annotations

from ipc import Done, handles
from rpc.enums import DomainShutoffReason
from supervisor.messages.worker import (
    DetachDevice,
    Reboot,
    Reset,
    Resume,
    Sample,
    Sampled,
    Shutdown,
    Start,
    Suspend,
    UpdateDevice,
    Wakeup,
)
from supervisor.workers.qemu import orders
from supervisor.workers.qemu.ending import clean_up, end
from supervisor.workers.qemu.events import take
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.attaching import attach
from supervisor.workers.qemu.hotplug.detaching import detach
from supervisor.workers.qemu.hotplug.updating import update
from supervisor.workers.qemu.launching import launch
from supervisor.workers.qemu.sampling import sample
from supervisor.workers.status import Status
from supervisor.workers.worker import GuestWorker


class Worker(GuestWorker[Guest]):
    """The worker of one QEMU."""

    def have(self, guest: Guest) -> None:
        """Drive this guest."""
        guest.take_events(lambda message: take(guest, message))
        super().have(guest)

    async def launch(self, request: Start) -> Guest:
        """Start a guest."""
        return await launch(self._workplace, request)

    async def end(self, guest: Guest, reason: DomainShutoffReason, *, graceful: bool) -> None:
        """End the emulator."""
        await end(guest, reason, graceful=graceful)

    async def clean_up(self, status: Status, xml: str) -> None:
        """Remove what a guest leaves behind."""
        await clean_up(self._workplace, status, xml)

    async def attach(self, guest: Guest, xml: str) -> None:
        """Give the guest a device."""
        await attach(guest, xml)

    async def detach(self, guest: Guest, request: DetachDevice) -> None:
        """Ask the guest to let a device go."""
        await detach(guest, xml=request.xml, alias=request.alias)

    async def update(self, guest: Guest, request: UpdateDevice) -> None:
        """Change a device."""
        await update(guest, request.xml, force=request.force)

    @handles(Shutdown)
    async def shutdown(self, request: Shutdown) -> Done:
        """Ask the guest to power off."""
        await orders.shutdown(self.guest(), request.flags)
        return Done()

    @handles(Reboot)
    async def reboot(self, request: Reboot) -> Done:
        """Ask the guest to reboot."""
        await orders.reboot(self.guest(), request.flags)
        return Done()

    @handles(Reset)
    async def reset(self, _: Reset) -> Done:
        """Reset the machine."""
        await orders.reset(self.guest())
        return Done()

    @handles(Suspend)
    async def suspend(self, _: Suspend) -> Done:
        """Stop the processors."""
        await orders.suspend(self.guest())
        return Done()

    @handles(Resume)
    async def resume(self, _: Resume) -> Done:
        """Let the processors run."""
        await orders.resume(self.guest())
        return Done()

    @handles(Wakeup)
    async def wakeup(self, _: Wakeup) -> Done:
        """Wake the guest."""
        await orders.wake_up(self.guest())
        return Done()

    @handles(Sample)
    async def sample(self, request: Sample) -> Sampled:
        """The guest's figures."""
        return Sampled(statistics=await sample(self.guest(), request.groups))
