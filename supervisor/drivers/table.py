"""The driver table: every hypervisor driver of the daemon, and look-ups in it.

Owns: the table. A new driver is one row here (and its module beside); everything that depends on
the driver is derived. Pure: it imports no service.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from supervisor.drivers.driver import Driver
from supervisor.drivers.lxc import LXC
from supervisor.drivers.qemu import QEMU


class DriverTable:
    """Drivers by name."""

    def __init__(self, *drivers: Driver) -> None:
        """Make the table.

        Args:
            drivers: the first one is opened where a client's URI is empty.
        """
        self._by_name = {driver.name: driver for driver in drivers}

    def __iter__(self) -> Iterator[Driver]:
        """Iterate over the drivers in the table's order."""
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Driver:
        """Return the driver of a name that this daemon gave out (`Client.driver`)."""
        return self._by_name[name]

    def get(self, name: str) -> Driver | None:
        """Return the driver of a name, which may come from a client."""
        return self._by_name.get(name)

    def of_daemon(self, *, session: bool) -> tuple[Driver, ...]:
        """Return the drivers that a system or session daemon serves."""
        return tuple(driver for driver in self if driver.uri_paths(session=session))

    def of_service(self, service: str) -> Driver:
        """Return the driver whose domains a process registers.

        Raises:
            KeyError: it is no such process.
        """
        for driver in self:
            if driver.service == service:
                return driver
        raise KeyError(service)

    def worker_prefixes(self) -> tuple[str, ...]:
        """Return what the names of workers on the bus begin with."""
        return tuple(driver.worker("") for driver in self if driver.worker_entry)


DRIVERS: Final = DriverTable(QEMU, LXC)
