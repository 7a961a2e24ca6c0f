"""The driver table: every hypervisor driver of this daemon, and look-ups in it. Pure."""

from __future__ import annotations

from typing import Final

from supervisor.drivers.driver import Driver
from supervisor.drivers.lxc import LXC
from supervisor.drivers.qemu import QEMU

#: The first one is opened where a client's URI is empty.
DRIVERS: Final[tuple[Driver, ...]] = (QEMU, LXC)
