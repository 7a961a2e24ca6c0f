"""The live XML: what a start adds to the definition.

Owns: display addresses and ports, channel paths, pty names, labels, in the model.
May touch: values only; ports are reserved by the function that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.address import VirtioSerialAddress
from conf.domain.devices.chardev import CharDevice, CharEnd
from conf.domain.devices.graphics import Graphics, Listen
from conf.domain.security import Seclabel
from conf.errors import ConfError
from conf.settings import QemuConfig

VNC_BASE: Final = 5900
ReservePort = Callable[[Sequence[int], str], int]  # reserves the first free one; for the message


def fill_graphics(domain: Domain, config: QemuConfig, folder: Path, reserve: ReservePort) -> None:
    """Fill in address, ports and password of every display."""
    for number, graphics in enumerate(domain.devices.graphics):
        if graphics.type == "vnc":
            _listen(graphics, config.vnc_listen, folder / "vnc.sock")
            _vnc_ports(graphics, config, reserve)
            graphics.passwd = graphics.passwd or config.vnc_password or None
        elif graphics.type == "spice":
            _listen(graphics, config.spice_listen, folder / "spice.sock")
            _spice_ports(graphics, config, reserve)
            graphics.passwd = graphics.passwd or config.spice_password or None
        elif graphics.type == "dbus" and not graphics.p2p and graphics.address is None:
            graphics.address = f"unix:path={folder}/dbus{number}.sock"


def _listen(graphics: Graphics, address: str, default: Path) -> None:
    if not graphics.listens:
        graphics.listens = [Listen(type="address")]
    for listen in graphics.listens:
        if listen.type == "address" and not listen.address:
            listen.address = address
        elif listen.type == "socket" and not listen.socket:
            listen.socket = str(default)
    # The attributes listen= and socket= repeat the first <listen>, for older clients.
    first = graphics.listens[0]
    if first.type == "address":
        graphics.listen = first.address
    elif first.type == "socket" and graphics.type == "vnc":
        graphics.socket = first.socket


def _display_ports(config: QemuConfig) -> range:
    return range(config.remote_display_port_min, config.remote_display_port_max + 1)


def _vnc_ports(graphics: Graphics, config: QemuConfig, reserve: ReservePort) -> None:
    if not graphics.has_ports:
        return
    if graphics.autoport:
        graphics.port = reserve(_display_ports(config), "VNC")
    if graphics.websocket == -1:
        low, high = config.remote_websocket_port_min, config.remote_websocket_port_max
        graphics.websocket = reserve(range(low, high + 1), "VNC WebSocket")
        graphics.websocket_generated = True


def _spice_ports(graphics: Graphics, config: QemuConfig, reserve: ReservePort) -> None:
    """Choose the ports that the modes of SPICE's channels need, with autoport, or that are -1.

    Raises:
        ConfError: "config_unsupported": a TLS port, where qemu.conf has no spice_tls.
    """
    if not graphics.has_ports:
        return
    modes = {channel.mode for channel in graphics.channels} if graphics.autoport else set()
    if graphics.autoport:
        modes.add(graphics.default_mode or "any")
    if graphics.port == -1 or modes & {"insecure", "any"}:
        graphics.port = reserve(_display_ports(config), "SPICE")
    if graphics.tls_port == -1 or "secure" in modes or ("any" in modes and config.spice_tls):
        if not config.spice_tls:
            detail = (
                "Auto allocation of spice TLS port requested but spice TLS is disabled in qemu.conf"
            )
            raise ConfError("config_unsupported", detail)
        graphics.tls_port = reserve(_display_ports(config), "SPICE TLS")


def fill_channels(domain: Domain, folder: Path) -> None:
    """Give every virtio channel without a path a socket in the domain's channel directory."""
    for channel in domain.devices.channels:
        if channel.type != "unix" or channel.target_type != "virtio" or channel.path is not None:
            continue
        path = str(folder / (channel.target_name or _unnamed(channel)))
        if channel.ends:
            channel.ends[0].path = path
            channel.ends[0].mode = channel.ends[0].mode or "bind"
        else:
            channel.ends = [CharEnd(mode="bind", path=path)]


def _unnamed(channel: CharDevice) -> str:
    address = channel.address
    numbers = (0, 0, 0)
    if isinstance(address, VirtioSerialAddress):
        numbers = (address.controller, address.bus, int(address.port or 0))
    return "vioser-{:02d}-{:02d}-{:02d}.sock".format(*numbers)


def pty_devices(domain: Domain) -> Iterator[CharDevice]:
    """List the character devices for which QEMU allocates a pty."""
    devices = domain.devices
    for device in (*devices.serials, *devices.parallels, *devices.channels, *devices.consoles):
        if device.type == "pty":
            yield device


def fill_pty_paths(domain: Domain, files: Mapping[str, str]) -> bool:
    """Fill in the paths of ptys; whether any is new.

    Args:
        domain: the live model.
        files: `query-chardev`'s "filename" by its "label".
    """
    changed = False
    for device in pty_devices(domain):
        name = files.get(f"char{device.alias}", "")
        if not name.startswith("pty:") or device.path == name.removeprefix("pty:"):
            continue
        path = name.removeprefix("pty:")
        device.ends = [CharEnd(path=path)]
        changed = True
    for console in domain.devices.consoles:
        if console.type == "pty" and console.path is not None:
            console.tty = console.path
    return changed


def fill_channel_states(domain: Domain, states: Mapping[str, bool]) -> bool:
    """Fill in which virtio channels are open in the guest; whether any has changed.

    Args:
        domain: the live model.
        states: `query-chardev`'s "frontend-open" by its "label".
    """
    changed = False
    for channel in domain.devices.channels:
        name = f"char{channel.alias}"
        if channel.target_type == "virtio" and name in states:
            state = "connected" if states[name] else "disconnected"
            changed |= channel.target_state != state
            channel.target_state = state
    return changed


def static_dac_label(domain: Domain) -> str:
    """Return the user and group of a static DAC label; "" without one."""
    for label in domain.seclabels:
        if label.model == "dac" and label.type == "static":
            return label.label or ""
    return ""


def allows_relabel(domain: Domain) -> bool:
    """Return whether the labels allow to chown files (relabel=)."""
    labels = [label for label in domain.seclabels if label.model == "dac"]
    return all(label.relabel is not False and label.type != "none" for label in labels)


def fill_dac_label(domain: Domain, uid: int, gid: int, *, by_default: bool) -> None:
    """Fill in the DAC label: the user and group that QEMU runs as, and that its files get.

    Args:
        domain: the domain.
        uid: QEMU's user.
        gid: QEMU's group.
        by_default: whether a domain without a label gets one (security_default_confined).
    """
    owner = f"+{uid}:+{gid}"
    label = next((seclabel for seclabel in domain.seclabels if seclabel.model == "dac"), None)
    if label is None:
        if not by_default:
            return
        label = Seclabel(type="dynamic", model="dac", relabel=True)
        domain.seclabels.append(label)
    if label.type == "dynamic":
        label.label = label.imagelabel = owner
    elif label.type == "static" and label.relabel:
        label.imagelabel = label.label


def copy_serial_to_console(domain: Domain) -> None:
    """Copy the first serial port's source and alias to the console that mirrors it.

    On x86 the first <console type='serial'> is the first <serial> again, not a second device.
    """
    devices = domain.devices
    if not devices.consoles or not devices.serials:
        return
    console, serial = devices.consoles[0], devices.serials[0]
    if console.target_type == "serial":
        console.type, console.ends = serial.type, serial.ends
        console.alias = serial.alias
