"""What graphics, video, sound, input and interfaces leave open.

Owns: those rules. May touch: the devices it is given.
Source: libvirt 9.0's behaviour, measured in corpus/domain.jsonl.
"""

from __future__ import annotations

import secrets
from typing import Final

from conf.domain.devices.audio import Audio
from conf.domain.devices.devices import Devices
from conf.domain.devices.graphics import Graphics, Listen
from conf.domain.devices.input import Input
from conf.domain.devices.interface import Interface, InterfaceDriver, Mac
from conf.domain.devices.video import Video, VideoModel
from conf.domain.devices.virtio import SWITCHES
from conf.emulator import EmulatorFacts
from conf.types.integer import UINT_MAX

VGA_MEMORY: Final = 16384  # KiB, as all of these
QXL_MEMORY: Final = 65536
PLAIN_MEMORY: Final = ("vga", "cirrus", "vmvga", "bochs")
NO_HEADS: Final = ("none",)
#: Types of interfaces that network filters are for.
FILTERED: Final = ("ethernet", "network", "bridge")
AUDIO_OF: Final = {"spice": "spice", "vnc": "none"}


def complete_graphics(graphics: Graphics) -> None:
    """Give a viewer its port and where it listens."""
    if graphics.type not in ("vnc", "spice", "rdp"):
        return
    _complete_listens(graphics)
    graphics.drop_ports()
    if graphics.autoport:
        graphics.port = graphics.tls_port = None


def _complete_listens(graphics: Graphics) -> None:
    if graphics.socket is not None and graphics.type == "vnc":
        # socket= is older than <listen>, and takes the place of an address.
        first = graphics.listens[0] if graphics.listens else None
        if first is None or first.type == "address":
            graphics.listens[:1] = [Listen(type="socket", socket=graphics.socket)]
        elif first.type == "socket":
            first.socket = first.socket or graphics.socket
        graphics.socket = None
    has_port = bool(graphics.port or graphics.tls_port or graphics.autoport)
    is_local = graphics.gl_enable or not has_port
    if graphics.type == "spice" and is_local:
        first = graphics.listens[0] if graphics.listens else None
        if first is None or first.type == "address":
            graphics.listens[:1] = [Listen(type="none")]
            graphics.listen = None
    if not graphics.listens:
        graphics.listens = [Listen(type="address", address=graphics.listen)]
    first = graphics.listens[0]
    if first.type == "address":
        first.address = first.address or graphics.listen
        graphics.listen = first.address
    if first.type == "socket":
        graphics.listen = first.address = None
        graphics.socket = first.socket if graphics.type == "vnc" else None


def complete_videos(devices: Devices, facts: EmulatorFacts) -> None:
    """Add the default video device, and fill in the video memory."""
    if devices.graphics and not devices.videos:
        devices.videos.append(Video(model=VideoModel()))
    for number, video in enumerate(devices.videos):
        model = video.model
        model.type = model.type or default_video_model(facts)
        if model.type == "none":
            model.heads = model.ram = model.vram = model.vram64 = model.vgamem = None
            continue
        if number == 0 and not any(other.model.primary for other in devices.videos):
            model.primary = True
        if model.type in PLAIN_MEMORY:
            model.vram = _power_of_two(model.vram) or VGA_MEMORY
        if model.type == "qxl":
            model.ram = _power_of_two(model.ram) or QXL_MEMORY
            model.vram = _power_of_two(model.vram) or QXL_MEMORY
            model.vgamem = _power_of_two(model.vgamem) or VGA_MEMORY
        if model.type not in NO_HEADS:
            model.heads = 1 if model.heads is None else model.heads
    devices.videos.sort(key=lambda video: not video.model.primary)


def _power_of_two(size: int | None) -> int:
    """Round up, as the PCI windows of a QXL device must be; in 32 bits, as libvirt counts."""
    rounded = 1 << (size - 1).bit_length() if size else 0
    return rounded & UINT_MAX


def default_video_model(facts: EmulatorFacts) -> str:
    """Return the default video model."""
    if facts.arch not in ("x86_64", "i686"):
        return "virtio"
    return "cirrus" if facts.has_device("cirrus-vga") else "vga"


def complete_inputs(devices: Devices, facts: EmulatorFacts) -> None:
    """Give inputs their bus, and a PC its mouse and keyboard."""
    pc = facts.arch in ("x86_64", "i686")
    for item in devices.inputs:
        if item.bus is None:
            item.bus = default_input_bus(item, pc=pc)
    if not pc:
        return
    for kind in ("mouse", "keyboard"):
        if not any(item.type == kind and item.bus == "ps2" for item in devices.inputs):
            devices.inputs.append(Input(type=kind, bus="ps2"))


def default_input_bus(item: Input, *, pc: bool) -> str | None:
    """Choose the bus of an <input> that has no bus=."""
    if item.type == "evdev":
        return None
    if item.type == "passthrough":
        return "virtio"
    return "ps2" if pc and item.type in ("mouse", "keyboard") else "usb"


def complete_audio(devices: Devices) -> None:
    """Give the guest's sound somewhere to go."""
    if devices.audios:
        return
    kinds = [AUDIO_OF[g.type] for g in devices.graphics if g.type in AUDIO_OF]
    if kinds or not devices.graphics:
        devices.audios.append(Audio(id=1, type=kinds[-1] if kinds else "none"))


def complete_interface(interface: Interface, facts: EmulatorFacts) -> None:
    """Give an interface a MAC address and a model."""
    if interface.mac_element is None:
        interface.mac_element = Mac()
    # <mac/> without an address is as no <mac>.
    interface.mac_element.address = interface.mac_element.address or new_mac()
    if interface.type == "user":
        interface.source = None  # it would be passt's
    _drop_virtio_settings(interface)
    if interface.model is None and interface.type not in ("hostdev", "vdpa"):
        interface.model = "rtl8139" if facts.has_device("rtl8139") else "e1000"
    if interface.type == "vdpa":
        interface.model = interface.model or "virtio"
    if interface.model is not None and interface.model.lower() == "virtio":
        interface.model = "virtio"


def _drop_virtio_settings(interface: Interface) -> None:
    """Drop what libvirt reads of virtio interfaces, or of filtered ones, alone."""
    # By the document's own word: the model that a vdpa interface has without one comes later.
    is_virtio = (interface.model or "").lower().startswith("virtio")
    is_virtio = is_virtio and interface.type != "hostdev"
    driver = interface.driver
    if not is_virtio:
        interface.backend_vhost = None
        interface.driver = _driver_of_any(interface.type, driver) if driver else None
    elif driver is not None and driver.queues in (0, 1):
        driver.queues = None  # one pair of queues is what every interface has
    if interface.type not in FILTERED:
        interface.filterref = None


def _driver_of_any(type_: str, driver: InterfaceDriver) -> InterfaceDriver | None:
    """Keep of a <driver> what is read of every interface; virtio's switches are refused later."""
    kept = InterfaceDriver(
        name=driver.name if type_ == "hostdev" else None,
        **{name: getattr(driver, name) for name in SWITCHES},
    )
    return None if kept == InterfaceDriver() else kept


def new_mac() -> str:
    """Generate a random MAC address with QEMU's prefix, 52:54:00."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
