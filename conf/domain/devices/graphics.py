"""<graphics>: how a guest's screen is seen from outside.

Source: libvirt 9.0 formatdomain, "Graphical framebuffers".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from conf.errors import ConfError
from conf.mapper import Mode, When, attribute, child, children, element
from conf.types.bool import on_off, write_on_off, yes_no, yes_no_or_none
from conf.types.enum import one_of
from conf.types.integer import int_signed, uint_positive

TYPES = one_of("sdl", "vnc", "rdp", "desktop", "spice", "egl-headless", "dbus")
COMPRESSIONS = one_of("auto_glz", "auto_lz", "quic", "glz", "lz", "off")
VNC: Final = When("type", ("vnc",))
SPICE: Final = When("type", ("spice",))
RDP: Final = When("type", ("rdp",))
DBUS: Final = When("type", ("dbus",))
REMOTE: Final = When("type", ("vnc", "spice", "rdp"))
WITH_PASSWORD: Final = When("type", ("vnc", "spice"))
WITH_DISPLAY: Final = When("type", ("sdl", "desktop"))
WITH_AUDIO: Final = When("type", ("vnc", "dbus"))
WITH_GL: Final = When("type", ("sdl", "spice", "egl-headless", "dbus"))
CHANNEL_MODES = one_of("secure", "insecure", "any")
WAN = one_of("auto", "never", "always")


@element("listen")
@dataclass(slots=True, kw_only=True)
class Listen:
    """<listen>: where viewers connect to."""

    type: str = attribute(
        "@type", read=one_of("address", "network", "socket", "none"), default="", required=True
    )
    address: str | None = attribute("@address")
    network: str | None = attribute("@network")
    socket: str | None = attribute("@socket", empty_is_absent=True)

    def complete(self, graphics: Graphics) -> None:
        """Keep what the type of the element has, whose older attributes stand in for it.

        Raises:
            ConfError: the kind is libvirt's code.
        """
        if self.type in ("socket", "none") and graphics.type == "rdp":
            detail = f"listen type '{self.type}' is not available for graphics type 'rdp'"
            raise ConfError("config_unsupported", detail, "graphics/listen/@type")
        if self.type not in ("address", "network"):
            self.address = None
        elif self.type == "address" and self is graphics.listens[0]:
            self.address = self.address or graphics.listen


@element("channel")
@dataclass(slots=True, kw_only=True)
class SpiceChannel:
    """<channel>: which parts of SPICE are wrapped in TLS."""

    name: str = attribute("@name", default="")
    mode: str = attribute("@mode", read=CHANNEL_MODES, default="any")


@element("gl")
@dataclass(slots=True, kw_only=True)
class Gl:
    """<gl>."""

    enable: bool | None = attribute("@enable", read=yes_no)
    rendernode: str | None = attribute("@rendernode")


@element("graphics")
@dataclass(slots=True, kw_only=True)
class Graphics:
    """<graphics>."""

    type: str = attribute("@type", read=TYPES, default="vnc", required=True)
    socket: str | None = attribute("@socket", when=VNC)
    port: int | None = attribute("@port", read=int_signed, bad="internal", when=REMOTE)
    tls_port: int | None = attribute("@tlsPort", read=int_signed, when=SPICE)
    autoport: bool | None = attribute("@autoport", read=yes_no_or_none, when=REMOTE)
    websocket: int | None = attribute("@websocket", read=int_signed, when=VNC)
    websocket_generated: bool | None = attribute("@websocketGenerated", read=yes_no, only="live")
    listen: str | None = attribute("@listen", when=REMOTE)
    power_control: bool | None = attribute("@powerControl", read=yes_no, when=VNC)
    display: str | None = attribute("@display", when=WITH_DISPLAY)
    xauth: str | None = attribute("@xauth", when=When("type", ("sdl",)))
    fullscreen: bool | None = attribute("@fullscreen", read=yes_no, when=WITH_DISPLAY)
    p2p: bool | None = attribute("@p2p", read=yes_no, when=DBUS)
    address: str | None = attribute("@address", when=DBUS)
    replace_user: bool | None = attribute("@replaceUser", read=yes_no, when=RDP)
    multi_user: bool | None = attribute("@multiUser", read=yes_no, when=RDP)
    keymap: str | None = attribute("@keymap", when=WITH_PASSWORD)
    default_mode: str | None = attribute(
        "@defaultMode", read=one_of("secure", "insecure", "any"), when=SPICE
    )
    share_policy: str | None = attribute(
        "@sharePolicy", read=one_of("allow-exclusive", "force-shared", "ignore"), when=VNC
    )
    passwd: str | None = attribute("@passwd", only="secure", when=WITH_PASSWORD)
    passwd_valid_to: str | None = attribute("@passwdValidTo", only="secure", when=WITH_PASSWORD)
    connected: str | None = attribute(
        "@connected",
        read=one_of("fail", "disconnect", "keep"),
        only="secure",
        when=WITH_PASSWORD,
    )
    listens: list[Listen] = children("listen", Listen, when=REMOTE)
    channels: list[SpiceChannel] = children("channel", SpiceChannel, when=SPICE)
    audio_id: int | None = attribute(
        "audio/@id", read=uint_positive, required=True, when=WITH_AUDIO
    )
    image_compression: str | None = attribute("image/@compression", read=COMPRESSIONS, when=SPICE)
    jpeg_compression: str | None = attribute("jpeg/@compression", read=WAN, when=SPICE)
    zlib_compression: str | None = attribute("zlib/@compression", read=WAN, when=SPICE)
    playback_compression: bool | None = attribute(
        "playback/@compression", read=on_off, write=write_on_off, when=SPICE
    )
    streaming_mode: str | None = attribute(
        "streaming/@mode", read=one_of("filter", "all", "off"), when=SPICE
    )
    mouse_mode: str | None = attribute("mouse/@mode", read=one_of("client", "server"), when=SPICE)
    copypaste: bool | None = attribute("clipboard/@copypaste", read=yes_no, when=SPICE)
    filetransfer: bool | None = attribute("filetransfer/@enable", read=yes_no, when=SPICE)
    gl: Gl | None = child("gl", Gl, when=WITH_GL)

    def after_read(self) -> None:
        """Read listens, ports and <gl> as libvirt does.

        Raises:
            ConfError: the kind is libvirt's code.
        """
        if self.listens and self.listen == "":
            self.listen = None
        for listen in self.listens:
            listen.complete(self)
        if self.p2p and self.address is not None:
            raise ConfError("xml", "D-Bus p2p with an address is not supported", "graphics/@p2p")
        if self.gl is not None and self.type == "spice" and self.gl.enable is None:
            detail = "Missing required attribute 'enable' in element 'gl'"
            raise ConfError("xml", detail, "graphics/gl/@enable")
        if self.gl is not None and self.type == "sdl":
            self.gl.rendernode = None
        if self.gl is not None and self.type == "egl-headless":
            self.gl.enable = None
            self.gl = self.gl if self.gl.rendernode else None
        match self.type:
            case "vnc":
                self._read_vnc_ports()
            case "spice":
                self._read_spice_ports()
        self.drop_ports()

    def _read_vnc_ports(self) -> None:
        """Port -1 is an old spelling of autoport, and 0 is no port; an absent one is chosen."""
        if self.autoport is None:
            self.autoport = self.port in (None, -1)
        self.port = None if self.port in (-1, 0) else self.port
        self.websocket = self.websocket or None

    def _read_spice_ports(self) -> None:
        """Both ports -1 is an old spelling of autoport; 0 is no port."""
        both = self.port == self.tls_port == -1
        self.autoport = both or bool(self.autoport)
        self.port, self.tls_port = self.port or None, self.tls_port or None
        # Mode "any" is what a channel has that is not listed.
        self.channels = [channel for channel in self.channels if channel.mode != "any"]

    def drop_ports(self) -> None:
        """Drop the ports of a display that is not served by TCP."""
        if self.type in ("vnc", "spice") and not self.has_ports:
            self.port = self.tls_port = self.autoport = None
            self.websocket = self.websocket_generated = None

    @property
    def has_ports(self) -> bool:
        """Whether clients come by TCP."""
        kind = self.listens[0].type if self.listens else "address"
        return kind in ("address", "network")

    @property
    def gl_enable(self) -> bool | None:
        """Whether OpenGL is used."""
        return self.gl.enable if self.gl else None

    @property
    def gl_rendernode(self) -> str | None:
        """The host's device for OpenGL."""
        return self.gl.rendernode if self.gl else None

    def before_write(self, mode: Mode) -> Graphics:
        """Drop ports that the host chose: they end with the guest."""
        if mode.live:
            return self
        websocket = -1 if self.websocket_generated else self.websocket
        if not self.autoport:
            return replace(self, websocket=websocket)
        port = -1 if self.type in ("vnc", "rdp") else None
        return replace(self, port=port, tls_port=None, websocket=websocket)
