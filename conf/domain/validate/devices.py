"""Checks of the other devices of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.device_xml import every_device
from conf.domain.devices.address import CcwAddress, IsaAddress, PciAddress, by_user
from conf.domain.devices.disk import Disk
from conf.domain.devices.interface import Interface
from conf.domain.devices.video import Video, VideoModel
from conf.domain.model import Domain
from conf.domain.validate.parsed_devices import char_sources
from conf.domain.validate.virtio import check_virtio_switches
from conf.errors import ConfError
from conf.types.repeats import first_repeated
from conf.types.size import KIB

UNSUPPORTED: Final = "config_unsupported"
#: Models that a second video device can have: the others have VGA's own ports.
SECONDARY_VIDEOS: Final = ("qxl", "virtio", "gpu", "none")
#: Models that show one picture.
ONE_HEAD: Final = ("vga", "cirrus", "vmvga", "ramfb", "bochs")
#: Models whose memory QEMU takes in MiB: the properties vgamem_mb and vram_size_mb.
SIZED_VIDEOS: Final = ("vga", "vmvga")
#: Models of interfaces that libvirt has a name for.
KNOWN_MODELS: Final = (
    "netfront", "rtl8139", "e1000", "e1000e", "igb", "usb-net", "spapr-vlan", "lan9118", "vmxnet3",
)  # fmt: skip
REMOTE: Final = ("vnc", "spice")
#: Types of interfaces whose tap is a port of a bridge.
BRIDGED: Final = ("network", "bridge")


def check_graphics(domain: Domain, *, spice_tls: bool) -> None:
    """Check the graphics devices.

    Args:
        domain: is read.
        spice_tls: whether qemu.conf switches TLS on.

    Raises:
        ConfError: "config_unsupported".
    """
    devices = domain.devices
    kinds = [graphics.type for graphics in devices.graphics]
    path = "domain/devices/graphics"
    with_gl = sum(bool(g.gl_enable) or g.type == "egl-headless" for g in devices.graphics)
    if "egl-headless" in kinds and set(kinds) - {"egl-headless", *REMOTE}:
        detail = (
            "graphics type 'egl-headless' is only supported with one of: 'vnc', 'spice' "
            "graphics types"
        )
        raise ConfError(UNSUPPORTED, detail, path)
    if with_gl > 1:
        raise ConfError(UNSUPPORTED, "multiple OpenGL displays are not supported by QEMU", path)
    for graphics in devices.graphics:
        if graphics.type in ("rdp", "desktop"):
            detail = f"{graphics.type} graphics are not supported with this QEMU"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@type")
        if graphics.type != "spice" or spice_tls:
            continue
        if graphics.tls_port is not None and graphics.tls_port > 0:
            detail = "spice TLS port set in XML configuration, but TLS is disabled in qemu.conf"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@tlsPort")


def check_videos(domain: Domain) -> None:
    """Check the video devices.

    Raises:
        ConfError: "config_unsupported".
    """
    videos = domain.devices.videos
    path = "domain/devices/video"
    if len(videos) > 1 and any(video.model.type == "none" for video in videos):
        detail = "a 'none' video type must be the only video device defined for the domain"
        raise ConfError(UNSUPPORTED, detail, path)
    if sum(video.model.primary is True for video in videos) > 1:
        raise ConfError(UNSUPPORTED, "Only one primary video device is supported", path)
    for number, video in enumerate(videos):
        _check_video(video, secondary=number > 0 and video.model.primary is not True)
        if video.model.type in ("ramfb", "none") and isinstance(video.address, PciAddress):
            detail = f"address not supported for video type {video.model.type}"
            raise ConfError(UNSUPPORTED, detail, f"{path}/address")


def _check_video(video: Video, *, secondary: bool) -> None:
    """Check attributes that belong to some models."""
    check_virtio_switches(video.driver, is_virtio=video.model.type == "virtio")
    model = video.model
    path = "domain/devices/video/model"
    if secondary and model.type not in SECONDARY_VIDEOS:
        detail = f"video type '{model.type}' is only valid as primary video device"
        raise ConfError(UNSUPPORTED, detail, path)
    if model.type != "virtio" and video.driver is not None and video.driver.name == "vhostuser":
        detail = "'vhostuser' driver is only supported with 'virtio' device"
        raise ConfError(UNSUPPORTED, detail, path)
    _check_video_memory(model)
    if model.rendernode and not (video.driver is not None and video.driver.name == "vhostuser"):
        detail = "unsupported rendernode accel attribute without 'vhostuser'"
        raise ConfError(UNSUPPORTED, detail, f"{path}/acceleration/@rendernode")
    if model.accel3d and model.type != "virtio":
        detail = "3d acceleration is supported only with 'virtio' video device"
        raise ConfError(UNSUPPORTED, detail, f"{path}/acceleration/@accel3d")
    if model.accel2d:
        detail = "qemu does not support the accel2d setting"
        raise ConfError(UNSUPPORTED, detail, f"{path}/acceleration/@accel2d")
    if model.type in ONE_HEAD and model.heads not in (None, 1):
        detail = f"video type '{model.type}' doesn't support multiple 'heads'"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@heads")


def _check_video_memory(model: VideoModel) -> None:
    """Check sizes, and that the model has such memory."""
    path = "domain/devices/video/model"
    for attribute in ("vram", "vgamem"):
        size = getattr(model, attribute)
        sized = model.type in SIZED_VIDEOS or (model.type, attribute) == ("qxl", "vgamem")
        if sized and size is not None and size < KIB:
            detail = f"value for '{attribute}' must be at least 1 MiB (1024 KiB)"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@{attribute}")
    if model.type == "qxl":
        return
    for attribute in ("ram", "vram64", "vgamem"):
        if getattr(model, attribute) is not None:
            detail = f"{attribute} attribute only supported for video type qxl"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@{attribute}")


def check_sounds(domain: Domain) -> None:
    """Check the sound devices and the <audio> elements that they name.

    Raises:
        ConfError: "config_unsupported".
    """
    devices = domain.devices
    repeated = first_repeated([audio.id for audio in devices.audios])
    if repeated is not None:
        detail = f"audio ID {repeated} is used multiple times"
        raise ConfError("xml", detail, "domain/devices/audio/@id")
    ids = {audio.id for audio in devices.audios}
    _check_audio(domain)
    for graphics in devices.graphics:
        if graphics.audio_id and graphics.audio_id not in ids:
            detail = f"no audio device with ID {graphics.audio_id}"
            raise ConfError("xml", detail, "domain/devices/graphics/audio/@id")
    for sound in devices.sounds:
        if sound.model == "ich7":
            detail = f"sound card model '{sound.model}' is not supported by qemu"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/sound/@model")
        if sound.audio_id is not None and sound.audio_id not in ids:
            detail = f"unable to find audio backend with id '{sound.audio_id}' for sound device"
            raise ConfError("xml", detail, "domain/devices/sound/audio/@id")


def _check_audio(domain: Domain) -> None:
    """Check what the host does with sound."""
    path, devices = "domain/devices/audio", domain.devices
    spice = any(graphics.type == "spice" for graphics in devices.graphics)
    for audio in devices.audios:
        if audio.type == "spice" and not spice:
            detail = "Spice audio is not supported without spice graphics"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@type")
        for stream in (audio.input, audio.output):
            if stream is not None and stream.settings is not None and not stream.fixed_settings:
                detail = "audio settings specified without fixed settings flag"
                raise ConfError(UNSUPPORTED, detail, f"{path}/settings")


def check_inputs(domain: Domain) -> None:
    """Check that the bus of each input device has such a device.

    Raises:
        ConfError: "config_unsupported".
    """
    path = "domain/devices/input"
    for item in domain.devices.inputs:
        if item.bus == "ps2" and item.type not in ("mouse", "keyboard"):
            detail = f"ps2 bus does not support {item.type} input device"
            raise ConfError("internal", detail, f"{path}/@bus")
        if item.type == "evdev" and item.bus not in (None, "none"):
            raise ConfError(UNSUPPORTED, "input evdev doesn't support bus element", f"{path}/@bus")
        if item.type == "passthrough" and item.bus != "virtio":
            detail = "only virtio bus is supported for 'passthrough' input devices"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@bus")


def check_single_devices(domain: Domain) -> None:
    """Check devices of which QEMU takes one, and values that must be unique.

    Raises:
        ConfError: the kind is libvirt's code.
    """
    devices = domain.devices
    spice = any(graphics.type == "spice" for graphics in devices.graphics)
    if any(source.type == "spicevmc" for source in char_sources(domain)) and not spice:
        detail = "chardev 'spicevmc' not supported without spice graphics"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/channel")
    if (
        devices.vsock is not None
        and devices.vsock.cid_address is not None
        and devices.vsock.cid_address < 3
    ):
        # 0 is the hypervisor, 1 local communication, 2 the host (vsock(7)).
        detail = "guest CIDs must be >= 3"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/vsock/cid")
    for shmem in devices.shmems:
        if "/" in shmem.name:
            detail = "shmem name cannot include '/' character"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/shmem")
        if shmem.name in (".", ".."):
            detail = f"shmem name cannot be equal to '{shmem.name}'"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/shmem")
    models = [watchdog.model for watchdog in devices.watchdogs]
    if len(models) > 1:
        detail = "only a single watchdog device is supported"
        raise ConfError("internal", detail, "domain/devices/watchdog")


def check_panics(domain: Domain) -> None:
    """Check the panic devices: one of each model, of this machine's, at its place.

    Raises:
        ConfError: "config_unsupported"; "xml".
    """
    path, machine = "domain/devices/panic", domain.os.type.machine or ""
    models = [panic.model for panic in domain.devices.panics]
    repeated = first_repeated(models)
    if repeated is not None:
        raise ConfError("xml", f"Multiple panic devices with model '{repeated}'", path)
    for panic in domain.devices.panics:
        for model, guests, begin in (("pseries", "pSeries", "pseries"), ("s390", "S390", "s390")):
            if panic.model == model and not machine.startswith(begin):
                detail = f"only {guests} guests support panic device of model '{model}'"
                raise ConfError(UNSUPPORTED, detail, f"{path}/@model")
        if panic.address is None or panic.model is None:
            continue
        if panic.model != "isa":
            detail = f"setting the panic device address is not supported for model '{panic.model}'"
            raise ConfError(UNSUPPORTED, detail, f"{path}/address")
        if not isinstance(panic.address, IsaAddress):
            detail = "panic is supported only with ISA address type"
            raise ConfError(UNSUPPORTED, detail, f"{path}/address")


def check_aliases(domain: Domain) -> None:
    """Refuse a user alias that two devices have.

    Raises:
        ConfError: "config_unsupported".
    """
    seen: set[str] = set()
    for item in every_device(domain.devices):
        alias = getattr(item, "alias", None)
        # Aliases that the daemon made are dropped from definitions, and may be on a console
        # that is a serial port's other element.
        if alias is None or not by_user(alias):
            continue
        if alias in seen:
            raise ConfError(UNSUPPORTED, f"non unique alias detected: {alias}", "alias/@name")
        seen.add(alias)


def check_address_types(domain: Domain) -> None:
    """Refuse addresses of mainframes on other machines; a channel is given a port in its place.

    Raises:
        ConfError: "config_unsupported".
    """
    machine = domain.os.type.machine or ""
    if machine.startswith("s390-ccw"):
        return
    channels = [one for one in domain.devices.channels if one.target_type == "virtio"]
    for item in every_device(domain.devices):
        if any(item is one for one in channels) or _has_other_bus(item):
            continue
        if isinstance(getattr(item, "address", None), CcwAddress):
            alias = getattr(item, "alias", None)
            detail = (
                f"cannot use CCW address type for device '{alias or '<null>'}' using "
                f"machine type '{machine}'"
            )
            raise ConfError(UNSUPPORTED, detail, "address/@type")


def _has_other_bus(item: object) -> bool:
    """Return whether it is a disk of a bus whose own check says which addresses there are."""
    return isinstance(item, Disk) and item.target.bus != "virtio"


def check_zpci(domain: Domain) -> None:
    """Refuse mainframes' PCI numbers, which no emulator that this build plans for has.

    Raises:
        ConfError: "config_unsupported".
    """
    devices = domain.devices
    groups = (devices.disks, devices.controllers, devices.interfaces, devices.hostdevs)
    for group in groups:
        for item in group:
            if isinstance(item.address, PciAddress) and item.address.zpci is not None:
                detail = "This QEMU binary doesn't support zPCI"
                raise ConfError(UNSUPPORTED, detail, "address/zpci")


def check_teaming(interface: Interface) -> None:
    """Check what is teamed with another interface.

    Raises:
        ConfError: "config_unsupported".
    """
    teaming, path = interface.teaming, "domain/devices/interface/teaming"
    if teaming is None:
        return
    if teaming.type == "transient":
        if teaming.persistent is None:
            detail = "teaming persistent attribute must be set if teaming type is 'transient'"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@persistent")
        if interface.type not in ("hostdev", "network"):
            detail = (
                "virtio-net teaming transient interface must be type='hostdev', "
                f"not '{interface.type}'"
            )
            raise ConfError(UNSUPPORTED, detail, path)
        return
    if teaming.persistent is not None:
        detail = "teaming persistent attribute not allowed if teaming type is 'persistent'"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@persistent")
    if interface.model != "virtio":
        detail = (
            "virtio-net teaming persistent interface must be <model type='virtio'/>, "
            f"not '{interface.model or 'unknown'}'"
        )
        raise ConfError(UNSUPPORTED, detail, path)


def _check_port(interface: Interface) -> None:
    """Check what counts for taps and bridges alone."""
    path = "domain/devices/interface"
    if interface.managed_target is False and interface.type != "ethernet":
        detail = f"unmanaged target dev is not supported on interfaces of type '{interface.type}'"
        raise ConfError(UNSUPPORTED, detail, f"{path}/target/@managed")
    if not interface.port_isolated:
        return
    begin = f"interface {interface.mac} - <port isolated='yes'/> is not supported for network "
    if interface.type not in BRIDGED:
        detail = f"{begin}interfaces with type='{interface.type}'"
        raise ConfError(UNSUPPORTED, detail, f"{path}/port")
    if interface.virtualport is not None and interface.virtualport.type is not None:
        detail = f"{begin}interfaces with virtualport type='{interface.virtualport.type}'"
        raise ConfError(UNSUPPORTED, detail, f"{path}/port")


def _check_ips(interface: Interface) -> None:
    """Check that QEMU's own network has one address of a family."""
    if interface.type != "user":
        return
    for mark, family in ((".", "IPv4"), (":", "IPv6")):
        if sum(mark in str(item.address) for item in interface.ips) > 1:
            detail = f"Only one {family} address per interface is allowed"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/interface/ip")


def check_interfaces(domain: Domain) -> None:
    """Check the queue sizes of interfaces.

    Raises:
        ConfError: "config_unsupported".
    """
    for interface in domain.devices.interfaces:
        model = interface.model or ""
        virtio = model.startswith("virtio") and interface.type != "hostdev"
        check_virtio_switches(interface.driver, is_virtio=virtio)
        if interface.type == "vdpa" and not virtio:
            known = model if model in KNOWN_MODELS else "unknown"
            detail = f"invalid model for interface of type 'vdpa': '{known}'"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/interface/model/@type")
        coalesce = interface.coalesce
        if coalesce is not None and coalesce.rx_max is not None and interface.type not in BRIDGED:
            detail = f"coalesce settings on interface type {interface.type} are not supported"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/interface/coalesce")
        check_teaming(interface)
        _check_port(interface)
        _check_ips(interface)
        if interface.type != "user" and (interface.ips or interface.routes):
            detail = (
                "Invalid attempt to set network interface guest-side IP route and/or address "
                "info, not supported by QEMU"
            )
            raise ConfError(UNSUPPORTED, detail, "domain/devices/interface/ip")
        driver = interface.driver
        if driver is None:
            continue
        for name, size in (("rx", driver.rx_queue_size), ("tx", driver.tx_queue_size)):
            if size is not None and size & (size - 1):
                detail = f"{name}_queue_size has to be a power of two"
                raise ConfError(UNSUPPORTED, detail, "domain/devices/interface/driver")


def check_iommu(domain: Domain) -> None:
    """Check the IOMMU against the machine.

    Raises:
        ConfError: "config_unsupported".
    """
    iommu = domain.devices.iommu
    if iommu is None:
        return
    path = "domain/devices/iommu"
    machine = domain.os.type.machine or ""
    if iommu.model == "intel" and not machine.startswith("pc-q35-"):
        detail = f"IOMMU device: 'intel' is only supported with Q35 machines, not {machine}"
        raise ConfError(UNSUPPORTED, detail, path)
    if iommu.model != "virtio":
        return
    if iommu.address is not None and not isinstance(iommu.address, PciAddress):
        raise ConfError(UNSUPPORTED, "IOMMU device: 'virtio' needs a PCI address", path)
    if not (domain.features and domain.features.acpi):
        raise ConfError(UNSUPPORTED, "IOMMU device: 'virtio' requires ACPI", path)
    if isinstance(iommu.address, PciAddress) and iommu.address.bus:
        detail = "the IOMMU needs to be an integrated device: its PCI address has bus='0x00'"
        raise ConfError("xml", detail, f"{path}/address")
