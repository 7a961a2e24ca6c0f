"""<graphics>: how a guest's screen is seen from outside.

Source: libvirt 9.0 formatdomain, "Graphical framebuffers".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from conf.mapper import Mode, attribute, child, children, element
from conf.types.bool import on_off, write_on_off, yes_no, yes_no_or_none
from conf.types.enum import one_of
from conf.types.integer import uint

TYPES = one_of("sdl", "vnc", "rdp", "desktop", "spice", "egl-headless", "dbus")
COMPRESSIONS = one_of("auto_glz", "auto_lz", "quic", "glz", "lz", "off")
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
    socket: str | None = attribute("@socket")


@element("channel")
@dataclass(slots=True, kw_only=True)
class SpiceChannel:
    """<channel>: which parts of SPICE are wrapped in TLS."""

    name: str = attribute("@name", default="")
    mode: str = attribute("@mode", read=one_of("secure", "insecure", "any"), default="any")


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
    socket: str | None = attribute("@socket")
    port: int | None = attribute("@port", read=int, bad="internal")
    tls_port: int | None = attribute("@tlsPort", read=int, bad="internal")
    autoport: bool | None = attribute("@autoport", read=yes_no_or_none)
    websocket: int | None = attribute("@websocket", read=int, bad="internal")
    websocket_generated: bool | None = attribute("@websocketGenerated", read=yes_no, only="live")
    listen: str | None = attribute("@listen")
    power_control: bool | None = attribute("@powerControl", read=yes_no)
    display: str | None = attribute("@display")
    xauth: str | None = attribute("@xauth")
    fullscreen: bool | None = attribute("@fullscreen", read=yes_no)
    p2p: bool | None = attribute("@p2p", read=yes_no)
    address: str | None = attribute("@address")
    replace_user: bool | None = attribute("@replaceUser", read=yes_no)
    multi_user: bool | None = attribute("@multiUser", read=yes_no)
    keymap: str | None = attribute("@keymap")
    default_mode: str | None = attribute("@defaultMode", read=one_of("secure", "insecure", "any"))
    share_policy: str | None = attribute(
        "@sharePolicy", read=one_of("allow-exclusive", "force-shared", "ignore")
    )
    passwd: str | None = attribute("@passwd", only="secure")
    passwd_valid_to: str | None = attribute("@passwdValidTo", only="secure")
    connected: str | None = attribute(
        "@connected", read=one_of("fail", "disconnect", "keep"), only="secure"
    )
    listens: list[Listen] = children("listen", Listen)
    channels: list[SpiceChannel] = children("channel", SpiceChannel)
    audio_id: int | None = attribute("audio/@id", read=uint, required=True)
    image_compression: str | None = attribute("image/@compression", read=COMPRESSIONS)
    jpeg_compression: str | None = attribute("jpeg/@compression", read=WAN)
    zlib_compression: str | None = attribute("zlib/@compression", read=WAN)
    playback_compression: bool | None = attribute(
        "playback/@compression", read=on_off, write=write_on_off
    )
    streaming_mode: str | None = attribute("streaming/@mode", read=one_of("filter", "all", "off"))
    mouse_mode: str | None = attribute("mouse/@mode", read=one_of("client", "server"))
    copypaste: bool | None = attribute("clipboard/@copypaste", read=yes_no)
    filetransfer: bool | None = attribute("filetransfer/@enable", read=yes_no)
    gl: Gl | None = child("gl", Gl)

    def after_read(self) -> None:
        """Read ports as libvirt does, and drop the settings that only SPICE has."""
        match self.type:
            case "vnc":
                self._read_vnc_ports()
            case "spice":
                self._read_spice_ports()
        self.drop_ports()
        if self.type != "spice":
            self.image_compression = self.jpeg_compression = self.zlib_compression = None
            self.playback_compression = self.streaming_mode = self.mouse_mode = None

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
