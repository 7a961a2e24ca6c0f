"""Port numbers of virtio-serial and CCID controllers.

Owns: which port is taken, and which controllers are missing. Pure.
May touch: its own tables only (`conf.domain.addresses.assign` reads and writes the domain).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from conf.errors import ConfError

DEFAULT_PORTS: Final = 31
CONSOLE_PORT: Final = 0  # only a console may sit there


@dataclass(slots=True)
class VirtioSerialPorts:
    """The ports of every virtio-serial controller, by the controller's index."""

    sizes: dict[int, int] = field(default_factory=dict)
    taken: dict[int, set[int]] = field(default_factory=dict)
    added: list[int] = field(default_factory=list)  # controllers to add

    def add_controller(self, index: int, ports: int | None) -> None:
        """Add a controller; without a number of ports it has 31."""
        self.sizes[index] = DEFAULT_PORTS if ports is None else ports
        self.taken.setdefault(index, set())

    def reserve(self, controller: int, port: int) -> None:
        """Reserve the port of an address; its controller is added if it is absent.

        Raises:
            ConfError: "xml": there is no such port, or it is taken.
        """
        if controller not in self.sizes:
            self._append(controller)
        size = self.sizes[controller]
        if port >= size:
            raise ConfError(
                "xml",
                f"virtio serial controller {controller} does not have port {port}; "
                f"its ports are 0 to {size - 1}",
            )
        if port in self.taken[controller]:
            raise ConfError(
                "xml", f"virtio serial port {port} on controller {controller} is already occupied"
            )
        self.taken[controller].add(port)

    def free(self, *, console: bool, controller: int | None = None) -> tuple[int, int]:
        """Reserve the first free port, on the controller if the address has one.

        A controller is added where none has room.

        Raises:
            ConfError: "xml": the controller asked for is full.
        """
        controllers = sorted(self.sizes) if controller is None else [controller]
        if controller is not None and controller not in self.sizes:
            self._append(controller)
        for index in controllers:
            port = self._first(index, console=console)
            if port is not None:
                self.taken[index].add(port)
                return index, port
        if controller is not None:
            raise ConfError("xml", f"virtio serial controller {controller} has no free port left")
        index = next(n for n in range(len(self.sizes) + 1) if n not in self.sizes)
        self._append(index)
        port = CONSOLE_PORT if console else CONSOLE_PORT + 1
        self.taken[index].add(port)
        return index, port

    def _first(self, index: int, *, console: bool) -> int | None:
        start = CONSOLE_PORT if console else CONSOLE_PORT + 1
        ports = range(start, self.sizes[index])
        return next((port for port in ports if port not in self.taken[index]), None)

    def _append(self, index: int) -> None:
        self.add_controller(index, None)
        self.added.append(index)
