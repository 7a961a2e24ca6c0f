"""Graphics (VNC, SPICE, SDL, D-Bus, egl-headless) and video devices.

Owns: -vnc, -spice, -display and the video devices.
May touch: values only; ports are chosen by the worker and stand in the domain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from conf.domain.devices.graphics import Graphics
from conf.domain.devices.video import Video
from conf.errors import ConfError
from conf.types.size import KIB
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.audio import audiodev
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device, obj
from supervisor.workers.qemu.argv.syntax import Option, comma, on_off, options_of
from supervisor.workers.qemu.argv.virtio import virtio_props

#: Types of which QEMU can have one.
SINGLE: Final = ("sdl", "vnc", "spice", "headless", "dbus")
PORT_MAX: Final = 65535
VNC_TLS: Final = "vnc-tls-creds0"
VNC_BASE_PORT: Final = 5900
PRIMARY: Final = {
    "vga": "VGA", "cirrus": "cirrus-vga", "vmvga": "vmware-svga", "qxl": "qxl-vga",
    "virtio": "virtio-vga", "bochs": "bochs-display", "ramfb": "ramfb",
}  # fmt: skip
SECONDARY: Final = PRIMARY | {"qxl": "qxl", "virtio": "virtio-gpu-pci"}


def displays(context: Context) -> Options:
    """Build every <graphics>.

    Raises:
        ConfError: "config_unsupported".
    """
    kinds = Counter(graphics.type for graphics in context.domain.devices.graphics)
    if any(kinds[kind] > 1 for kind in SINGLE):
        raise ConfError(
            "config_unsupported",
            f"only 1 graphics device of each type ({', '.join(SINGLE)}) is supported",
        )
    for graphics in context.domain.devices.graphics:
        match graphics.type:
            case "vnc":
                yield from _vnc_certificates(context)
                yield from _keymap(graphics)
                yield "-vnc", _vnc(context, graphics)
            case "spice":
                yield from _keymap(graphics)
                yield "-spice", _spice(context, graphics)
            case "sdl":
                yield "-display", options_of(("sdl",), {"gl": graphics.gl_enable})
            case "egl-headless":
                members: dict[str, Option] = {"rendernode": graphics.gl_rendernode}
                yield "-display", options_of(("egl-headless",), members)
            case "dbus":
                yield "-display", options_of(("dbus",), _dbus(graphics))
            case _:
                raise ConfError(
                    "config_unsupported",
                    f"unsupported graphics type '{graphics.type}'; use vnc or spice",
                )


def _vnc_certificates(context: Context) -> Options:
    """Build the TLS credentials of the VNC server, where qemu.conf has vnc_tls."""
    runtime = context.inputs
    if runtime.vnc_tls_dir:
        yield obj(
            {
                "qom-type": "tls-creds-x509",
                "id": VNC_TLS,
                "dir": runtime.vnc_tls_dir,
                "endpoint": "server",
                "verify-peer": runtime.vnc_tls_verify,
            }
        )


def _keymap(graphics: Graphics) -> Options:
    """Choose the keymap of clients; QEMU has one (-k) for all of its displays."""
    if graphics.keymap:
        yield "-k", graphics.keymap


def _dbus(graphics: Graphics) -> dict[str, Option]:
    return {
        "p2p": True if graphics.p2p else None,
        "addr": graphics.address,
        "gl": graphics.gl_enable,
        "rendernode": graphics.gl_rendernode,
        "audiodev": f"audio{graphics.audio_id}" if graphics.audio_id is not None else None,
    }


def _host(address: str) -> str:
    """Enclose an IPv6 address in brackets."""
    return f"[{address}]" if ":" in address else address


def _vnc(context: Context, graphics: Graphics) -> str:
    """Build -vnc: the address, then the options."""
    listen = graphics.listens[0] if graphics.listens else None
    if listen is not None and listen.type == "socket":
        path = listen.socket or f"{context.inputs.domain_dir}/vnc.sock"
        head = f"vnc=unix:{comma(path)}"
    elif listen is not None and listen.type == "none":
        head = "none"
    else:
        port = graphics.port
        if port is None or not VNC_BASE_PORT <= port <= PORT_MAX:
            raise ConfError(
                "config_unsupported", f"vnc port must be in range [{VNC_BASE_PORT},{PORT_MAX}]"
            )
        address = (
            listen.address if listen is not None and listen.address else context.inputs.vnc_listen
        )
        head = f"{_host(address)}:{port - VNC_BASE_PORT}"
    members: dict[str, Option] = {"websocket": graphics.websocket}
    members["share"] = graphics.share_policy
    if graphics.passwd is not None:
        members["password"] = True
    if context.inputs.vnc_tls_dir:
        members["tls-creds"] = VNC_TLS
    members["power-control"] = graphics.power_control
    if context.inputs.vnc_sasl:
        members["sasl"] = True
    members["audiodev"] = audiodev(context, graphics.audio_id)
    return options_of((head,), members)


def _spice(context: Context, graphics: Graphics) -> str:
    """Build -spice as one option."""
    parts = _spice_listen(context, graphics)
    if graphics.mouse_mode is not None:
        parts.append(f"agent-mouse={on_off(graphics.mouse_mode == 'client')}")
    if graphics.passwd is None:
        parts.append("disable-ticketing=on")
    if context.inputs.spice_tls_dir and graphics.tls_port:
        parts.append(f"x509-dir={comma(context.inputs.spice_tls_dir)}")
    if context.inputs.spice_sasl:
        parts.append("sasl=on")
    parts += _spice_channels(graphics)
    parts += _spice_quality(graphics)
    parts.append("seamless-migration=on")
    return ",".join(parts)


def _spice_channels(graphics: Graphics) -> Iterator[str]:
    """Say which channels have to come by which port; one that is not open is refused."""
    plain = graphics.port if graphics.has_ports else True  # a Unix socket, or none
    what = {
        "secure": ("tls-channel", "TLS connection", graphics.tls_port),
        "insecure": ("plaintext-channel", "plaintext connection", plain),
    }
    default = graphics.default_mode or "any"
    for name, mode in [
        ("default", default),
        *((item.name, item.mode) for item in graphics.channels),
    ]:
        if mode == "any":
            continue
        option, connection, port = what[mode]
        if not port or port < 0:
            subject = f"defaultMode {mode}" if name == "default" else f"{mode} channels"
            verb = "requested" if name == "default" else "set"
            detail = (
                f"spice {subject} {verb} in XML configuration, but {connection} is not available"
            )
            raise ConfError("config_unsupported", detail)
        yield f"{option}={name}"


def _spice_listen(context: Context, graphics: Graphics) -> list[str]:
    listen = graphics.listens[0] if graphics.listens else None
    if listen is not None and listen.type == "socket":
        path = listen.socket or f"{context.inputs.domain_dir}/spice.sock"
        return ["unix", f"addr={comma(path)}"]
    if listen is not None and listen.type == "none":
        return ["port=0"]
    parts = []
    if graphics.port and graphics.port > 0:
        parts.append(f"port={graphics.port}")
    if graphics.tls_port and graphics.tls_port > 0:
        parts.append(f"tls-port={graphics.tls_port}")
    if not parts:
        return []
    address = listen.address if listen is not None and listen.address else None
    parts.append(f"addr={address or context.inputs.spice_listen}")
    return parts


def _spice_quality(graphics: Graphics) -> list[str]:
    """Build SPICE's options of compression, streaming, clipboard and OpenGL."""
    parts = []
    for name, value in (
        ("image-compression", graphics.image_compression),
        ("jpeg-wan-compression", graphics.jpeg_compression),
        ("zlib-glz-wan-compression", graphics.zlib_compression),
    ):
        if value is not None:
            parts.append(f"{name}={value}")
    if graphics.playback_compression is not None:
        parts.append(f"playback-compression={on_off(graphics.playback_compression)}")
    if graphics.streaming_mode is not None:
        parts.append(f"streaming-video={graphics.streaming_mode}")
    if graphics.copypaste is False:
        parts.append("disable-copy-paste=on")
    if graphics.filetransfer is False:
        parts.append("disable-agent-file-xfer=on")
    if graphics.gl_enable:
        parts.append("gl=on")
        if graphics.gl_rendernode:
            parts.append(f"rendernode={comma(graphics.gl_rendernode)}")
    return parts


def videos(context: Context) -> Options:
    """Build the video devices; the first is the VGA-compatible one, which firmware can use."""
    for number, video in enumerate(context.domain.devices.videos):
        if video.model.type == "none":
            continue
        primary = video.model.primary or number == 0
        yield device(_video(context, video, primary=primary))


def _video(context: Context, video: Video, *, primary: bool) -> Props:
    model = video.model
    driver = (PRIMARY if primary else SECONDARY).get(model.type)
    if driver is None:
        raise ConfError(
            "config_unsupported",
            f"domain configuration does not support video model '{model.type}'",
        )
    if model.type == "virtio" and model.accel3d:
        driver = "virtio-vga-gl" if primary else "virtio-gpu-gl-pci"
    props: Props = {"driver": driver, **virtio_props(video.driver), "id": video.alias}
    props |= _video_memory(video)
    return props | placed(context, video.address)


def _video_memory(video: Video) -> Props:
    """Build heads, resolution and memory; the units depend on the model."""
    model = video.model
    resolution: Props = (
        {"xres": model.resolution.x, "yres": model.resolution.y} if model.resolution else {}
    )
    match model.type:
        case "qxl":
            return {
                "max_outputs": model.heads or None,
                "ram_size": (model.ram or 0) * KIB,
                "vram_size": (model.vram or 0) * KIB,
                "vram64_size_mb": (model.vram64 or 0) // KIB,
                "vgamem_mb": (model.vgamem or 0) // KIB,
                **resolution,
            }
        case "virtio":
            blob = {"blob": model.blob} if model.blob is not None else {}
            return {"max_outputs": model.heads or None, **resolution, **blob}
        case "vga" | "vmvga":
            memory = {"vgamem_mb": model.vram // KIB} if model.vram else {}
            return {**memory, **resolution}
        case "bochs":
            memory = {"vgamem": model.vram * KIB} if model.vram else {}
            return {**memory, **resolution}
    return resolution
