"""<graphics>: how a guest's screen is seen from outside.

Source: libvirt 9.0 formatdomain, "Graphical framebuffers".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from conf.mapper import Mode, attribute, child, children, element
from conf.types.bool import is_yes, on_off, write_on_off, yes_no
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
    port: int | None = attribute("@port", read=int)
    tls_port: int | None = attribute("@tlsPort", read=int)
    autoport: bool | None = attribute("@autoport", read=is_yes)
    websocket: int | None = attribute("@websocket", read=int)
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
        """Drop the settings of images and sound, which only SPICE has."""
        if self.type != "spice":
            self.image_compression = self.jpeg_compression = self.zlib_compression = None
            self.playback_compression = self.streaming_mode = self.mouse_mode = None

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
        if mode.live or not self.autoport:
            return self
        port = -1 if self.type in ("vnc", "spice", "rdp") and self.port is not None else self.port
        return replace(
            self,
            port=None if self.type == "spice" else port,
            tls_port=None,
            websocket=-1 if self.websocket_generated else self.websocket,
        )
