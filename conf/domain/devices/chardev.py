"""Character devices: <serial>, <parallel>, <console>, <channel>, and their backends.

Source: libvirt 9.0 formatdomain, "Consoles, serial, parallel & channel devices".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lxml import etree

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.source import Reconnect, SourceLabel
from conf.errors import ConfError
from conf.mapper import Mode, When, attribute, child, children, element
from conf.types.bool import on_off, write_on_off, yes_no
from conf.types.enum import one_of
from conf.types.integer import INT_MAX, UINT_MAX, c_integer

TYPES = one_of(
    "null", "vc", "pty", "dev", "file", "pipe", "stdio", "udp", "tcp", "unix", "spicevmc",
    "spiceport", "nmdm", "qemu-vdagent", "dbus",
    unknown="unknown type presented to host for character device: {}",
)  # fmt: skip


FILE: Final = When("type", ("file",), outer=True)
SOCKET: Final = When("type", ("udp", "tcp", "unix"), outer=True)
TCP: Final = When("type", ("tcp",), outer=True)
RECONNECTED: Final = When("type", ("tcp", "unix"), outer=True)
VDAGENT: Final = When("type", ("qemu-vdagent",), outer=True)


@element("source")
@dataclass(slots=True, kw_only=True)
class CharEnd:
    """<source>: one end of a character device; UDP has two."""

    channel: str | None = attribute("@channel")
    mode: str | None = attribute("@mode", read=one_of("bind", "connect"), when=SOCKET)
    path: str | None = attribute("@path")
    append: bool | None = attribute("@append", read=on_off, write=write_on_off, when=FILE)
    host: str | None = attribute("@host")
    service: str | None = attribute("@service")
    tls: bool | None = attribute("@tls", read=yes_no, when=TCP)
    master: str | None = attribute("@master")
    slave: str | None = attribute("@slave")
    clipboard: bool | None = attribute(
        "clipboard/@copypaste", read=yes_no, required=True, when=VDAGENT
    )
    mouse: str | None = attribute(
        "mouse/@mode", read=one_of("client", "server"), required=True, when=VDAGENT
    )
    reconnect: Reconnect | None = child("reconnect", Reconnect, when=RECONNECTED)
    labels: list[SourceLabel] = children("seclabel", SourceLabel)


#: The attributes and children of <source> that each type has.
OF_TYPE: Final = {
    "pty": ("path", "labels"),
    "dev": ("path", "labels"),
    "file": ("path", "append", "labels"),
    "pipe": ("path", "labels"),
    "udp": ("mode", "host", "service"),
    "tcp": ("mode", "host", "service", "tls", "reconnect"),
    "unix": ("mode", "path", "reconnect", "labels"),
    "spiceport": ("channel",),
    "dbus": ("channel",),
    "nmdm": ("master", "slave"),
    "qemu-vdagent": ("clipboard", "mouse"),
}
#: Types with a <protocol>.
WITH_PROTOCOL: Final = When("type", ("tcp",))
ONE_PROTOCOL: Final = "only one protocol element is allowed for character device"
ONE_LOG: Final = "only one log element is allowed for character device"
PROTOCOLS: Final = one_of("raw", "telnet", "telnets", "tls", unknown="Unknown protocol '{}'")


def ends_of_type(type_: str | None, ends: list[CharEnd]) -> list[CharEnd]:
    """Drop of each <source> what its type does not have, and the empty ones.

    Source: libvirt 9.0 virDomainChrSourceDefParseXML.

    Raises:
        ConfError: "xml": there are too many.
    """
    most, number = (
        (2, "two source elements are") if type_ == "udp" else (1, "one source element is")
    )
    if len(ends) > most:
        detail = f"only {number} allowed for character device"
        raise ConfError("xml", detail, "source")
    kept = OF_TYPE.get(type_ or "", ())
    own = [CharEnd(**{name: getattr(end, name) for name in kept}) for end in ends]
    own = [end for end in own if end != CharEnd(mode=end.mode)]
    for end in own:
        end.mode = end.mode or ("connect" if "mode" in kept else None)
    return own


class CharSource:
    """What a planner asks of the ends; shared by all that have such a source."""

    __slots__ = ()

    type: str
    ends: list[CharEnd]
    protocol: str | None
    log_file: str | None
    log_append: bool | None

    def after_read(self) -> None:
        """Keep what the type has.

        Raises:
            ConfError: the kind is libvirt's code.
        """
        self.ends[:] = ends_of_type(self.type, self.ends)
        again = self.reconnect is not None and self.reconnect.enabled
        if self.type == "unix" and self.listens and again:
            detail = "chardev reconnect is possible only for connect mode"
            raise ConfError("internal", detail, "source/reconnect")

    def _end(self, mode: str) -> CharEnd | None:
        # TCP and UDP connect where no mode is given; a second end is the other one.
        return next((end for end in self.ends if (end.mode or "connect") == mode), None)

    @property
    def first(self) -> CharEnd:
        """The first end; an empty one where the XML has none."""
        return self.ends[0] if self.ends else CharEnd()

    @property
    def path(self) -> str | None:
        """The file, device or socket."""
        return self.first.path

    @property
    def append(self) -> bool | None:
        """Whether a file is written on."""
        return self.first.append

    @property
    def connect_host(self) -> str | None:
        """The host to connect to."""
        end = self._end("connect")
        return end.host if end else None

    @property
    def connect_service(self) -> str | None:
        """The port to connect to."""
        end = self._end("connect")
        return end.service if end else None

    @property
    def bind_host(self) -> str | None:
        """The address to listen on."""
        end = self._end("bind")
        return end.host if end else None

    @property
    def bind_service(self) -> str | None:
        """The port to listen on."""
        end = self._end("bind")
        return end.service if end else None

    @property
    def listens(self) -> bool:
        """Whether the emulator waits to be connected to."""
        return self.first.mode == "bind" or (self.type == "unix" and self.first.mode is None)

    @property
    def channel(self) -> str | None:
        """The name of a SPICE port or D-Bus channel."""
        return self.first.channel

    @property
    def clipboard(self) -> bool | None:
        """Whether a vdagent shares the clipboard."""
        return self.first.clipboard

    @property
    def mouse(self) -> str | None:
        """Whose mouse a vdagent moves."""
        return self.first.mouse

    @property
    def reconnect(self) -> Reconnect | None:
        """Whether a lost connection is made again."""
        return self.first.reconnect

    @property
    def tls(self) -> bool | None:
        """Whether TCP is wrapped in TLS."""
        return self.first.tls


@element("serial")
@dataclass(slots=True, kw_only=True)
class CharDevice(CharSource):
    """A character device of any kind."""

    type: str = attribute("@type", read=TYPES, default="pty")
    tty: str | None = attribute("@tty", only="live")
    ends: list[CharEnd] = children("source", CharEnd)
    log_file: str | None = attribute("log/@file", single=ONE_LOG)
    log_append: bool | None = attribute("log/@append", read=on_off, write=write_on_off)
    protocol: str | None = attribute(
        "protocol/@type", read=PROTOCOLS, single=ONE_PROTOCOL, when=WITH_PROTOCOL
    )
    target_type: str | None = attribute("target/@type", first=True)
    target_name: str | None = attribute("target/@name", first=True)
    target_address: str | None = attribute("target/@address", first=True)
    target_port: int | None = attribute("target/@port", read=lambda value: port(value), first=True)
    target_state: str | None = attribute("target/@state", only="live")
    target_model: str | None = attribute("target/model/@name", first=True, empty_is_absent=True)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Check that a channel says where it ends in the guest.

        Raises:
            ConfError: "xml"; "config_unsupported".
        """
        target = node.find("target")
        if node.tag != "channel" or (target is not None and target.get("type") is not None):
            return
        if target is None:
            detail = "target type must be specified for channel device"
            raise ConfError("xml", detail, "channel/target/@type")
        detail = "unknown target type '(null)' specified for character device"
        raise ConfError("config_unsupported", detail, "channel/target/@type")

    def after_read(self) -> None:
        """Check and keep what the kind of target has.

        Raises:
            ConfError: the kind is libvirt's code.
        """
        CharSource.after_read(self)
        if self.target_type != "guestfwd":
            self.target_address = None
        elif self.target_address is None:
            detail = "guestfwd channel does not define a target address"
            raise ConfError("xml", detail, "channel/target/@address")
        elif self.target_port is None:
            detail = "guestfwd channel does not define a target port"
            raise ConfError("xml", detail, "channel/target/@port")

    def before_write(self, mode: Mode) -> CharDevice:
        """Drop a pty's path from the inactive XML: the host allocates it at each start."""
        if self.type == "pty" and not mode.live and self.ends:
            return replace(self, ends=[], tty=None)
        return self


def port(text: str) -> int | None:
    """Read a target's port.

    Raises:
        ConfError: "xml": it is no decimal number of 32 bits.
    """
    try:
        number = c_integer(text)
    except ValueError:
        number = UINT_MAX + 1
    if not -UINT_MAX <= number <= UINT_MAX:
        raise ConfError("xml", f"Invalid port number: {text}", "target/@port")
    number &= UINT_MAX
    # libvirt reads an unsigned number into an int, in which -1 is none.
    return None if number == UINT_MAX else number - (number > INT_MAX) * (UINT_MAX + 1)
