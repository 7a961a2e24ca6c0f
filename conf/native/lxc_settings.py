"""The settings of LXC's configuration: keys, their values in order, under one of their two names.

Owns: reading lines, numbers with units, quoted strings. Pure.
Source: lxc.container.conf(5), of LXC 1 and of LXC 3 and later, which renamed the keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from conf.errors import ConfError

MAX_BYTES: Final = 1 << 20
MAX_INTERFACES: Final = 64
UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
SIZE: Final = re.compile(r"([0-9]{1,18})([kmgt]?)b?", re.IGNORECASE)
NUMBERED_INTERFACE: Final = re.compile(r"lxc\.net.([0-9]{1,6}).(.+)")
#: Keys of liblxc before 2.1, and their current names.
RENAMED: Final = {
    "lxc.utsname": "lxc.uts.name",
    "lxc.rootfs": "lxc.rootfs.path",
    "lxc.mount": "lxc.mount.fstab",
    "lxc.id_map": "lxc.idmap",
    "lxc.tty": "lxc.tty.max",
    "lxc.init_cmd": "lxc.init.cmd",
    "lxc.init_uid": "lxc.init.uid",
    "lxc.init_gid": "lxc.init.gid",
}
INTERFACE_RENAMED: Final = {"ipv4": "ipv4.address", "ipv6": "ipv6.address"}


@dataclass(slots=True)
class NetworkSettings:
    """The settings lxc.net.N.*, by the key after the number."""

    type: str
    settings: dict[str, list[str]] = field(default_factory=dict)

    def get(self, key: str) -> str:
        """Return the last value of a key; "" when it is absent."""
        return self.settings.get(key, [""])[-1]


@dataclass(slots=True)
class Settings:
    """All of a file."""

    values: dict[str, list[str]] = field(default_factory=dict)
    interfaces: list[NetworkSettings] = field(default_factory=list)

    def get_all(self, key: str) -> list[str]:
        """List the values of a key; an empty one clears those before it, as in LXC."""
        values: list[str] = []
        for value in self.values.get(key, ()):
            values = [*values, value] if value else []
        return values

    def get(self, *keys: str) -> str:
        """Return the last value of the first key that is present; "" when none is."""
        return next((values[-1] for key in keys if (values := self.get_all(key))), "")


def read_settings(text: str) -> Settings:
    """Read a file.

    Raises:
        ConfError: "invalid_arg": a line is none of a configuration, or there is too much.
    """
    if len(text) > MAX_BYTES:
        raise ConfError("invalid_arg", f"the configuration has over {MAX_BYTES} characters")
    settings, by_number = Settings(), dict[str, NetworkSettings]()
    for number, line in enumerate(text.split("\n"), 1):
        plain = line.strip()
        if not plain or plain.startswith("#"):
            continue
        key, equals, value = plain.partition("=")
        if not equals:
            raise ConfError("invalid_arg", f"line {number} is no setting 'KEY = VALUE': {plain!r}")
        _add(settings, by_number, RENAMED.get(key.strip(), key.strip()), value.strip())
        if len(settings.interfaces) > MAX_INTERFACES:
            raise ConfError(
                "invalid_arg", f"the configuration has over {MAX_INTERFACES} network interfaces"
            )
    return settings


def _add(settings: Settings, by_number: dict[str, NetworkSettings], key: str, value: str) -> None:
    numbered = NUMBERED_INTERFACE.fullmatch(key)
    if numbered is not None:
        interface = by_number.get(numbered[1])
        if interface is None:
            interface = by_number[numbered[1]] = NetworkSettings("")
            settings.interfaces.append(interface)
        _set(interface, numbered[2], value)
    elif key == "lxc.network.type":
        settings.interfaces.append(NetworkSettings(value))
    elif key.startswith("lxc.network."):
        if settings.interfaces:  # before the first type= they belong to no interface
            _set(settings.interfaces[-1], key.removeprefix("lxc.network."), value)
    else:
        settings.values.setdefault(key, []).append(value)


def _set(network: NetworkSettings, key: str, value: str) -> None:
    if key == "type":
        network.type = value
    else:
        network.settings.setdefault(INTERFACE_RENAMED.get(key, key), []).append(value)


def parse_size(value: str, key: str) -> int | None:
    """Parse a number of bytes; None: unlimited.

    Raises:
        ConfError: "invalid_arg": it is none.
    """
    if value in ("-1", "max"):
        return None
    match = SIZE.fullmatch(value)
    if match is None:
        raise ConfError("invalid_arg", f"{key} = {value}: this is no size")
    return int(match[1]) * UNITS[match[2].lower()]


def parse_number(value: str, key: str) -> int:
    """Parse a whole number.

    Raises:
        ConfError: "invalid_arg": it is none.
    """
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ConfError("invalid_arg", f"{key} = {value}: this is no number")
    return int(value)
