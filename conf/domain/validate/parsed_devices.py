"""Checks of parsed devices: required parts and contradictions, whatever the hypervisor.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_letters, digits
from typing import Final

from conf.domain.device_xml import Device, set_devices
from conf.domain.devices.chardev import CharSource
from conf.domain.devices.controller import check_usb_controllers
from conf.domain.devices.devices import Devices
from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem, FilesystemSource
from conf.domain.devices.graphics import Graphics
from conf.domain.devices.interface import Interface
from conf.domain.devices.redirdev import Redirdev
from conf.domain.devices.source import Auth, Encryption, SourceLabel
from conf.domain.model import Domain
from conf.domain.validate.parsed_hostdevs import check_parsed_hostdev
from conf.errors import ConfError
from conf.types.ip_route import check_route
from conf.types.repeats import first_repeated

UNSUPPORTED: Final = "config_unsupported"
INTERFACE_MODEL: Final = re.compile(r"[A-Za-z0-9_\-]*")
#: Attributes of <source> that each type of interface must have, in the order of libvirt's checks.
INTERFACE_SOURCES: Final = {
    "bridge": ("bridge",), "network": ("network",), "internal": ("name",), "direct": ("dev",),
    "vdpa": ("dev",), "server": ("port",), "client": ("address", "port"),
    "mcast": ("address", "port"), "udp": ("address", "port"),
    "vhostuser": ("type", "path", "mode"),
}  # fmt: skip
#: Models of interfaces that have a vhost-user backend, as libvirt spells them.
VIRTIO_NETS: Final = ("virtio", "virtio-transitional", "virtio-non-transitional")
#: Types of disks whose absence no startupPolicy can foresee.
REMOTE_DISKS: Final = ("network", "nvme", "vhostuser", "vhostvdpa")
#: The kinds of <target> that each character device can have.
SERIAL_TARGETS: Final = (
    "none", "isa-serial", "usb-serial", "pci-serial", "spapr-vio-serial", "system-serial",
    "sclp-serial", "isa-debug",
)  # fmt: skip
SERIAL_MODELS: Final = (
    "isa-serial", "usb-serial", "pci-serial", "spapr-vty", "pl011", "sclpconsole", "sclplmconsole",
    "16550a", "isa-debugcon",
)  # fmt: skip
CONSOLE_TARGETS: Final = (
    "none",
    "serial",
    "xen",
    "uml",
    "virtio",
    "lxc",
    "openvz",
    "sclp",
    "sclplm",
)
#: Of the name of a SPICE port or a D-Bus channel.
CHANNEL_CHARACTERS: Final = frozenset(ascii_letters + digits + "-._")
CHANNEL_TARGETS: Final = ("none", "guestfwd", "virtio", "xen")
#: The type of secret that each protocol takes.
SECRET_OF: Final = {"iscsi": "iscsi", "rbd": "ceph"}
SECRET_TYPES: Final = ("ceph", "iscsi")


def check_parsed_devices(domain: Domain) -> None:
    """Check devices before their defaults are filled in.

    Raises:
        ConfError: the kind is libvirt's code.
    """
    _check_char_targets(domain)
    for source in char_sources(domain):
        _check_char_source(source)
    for graphics in domain.devices.graphics:
        _check_listens(graphics)
    for labels in _source_labels(domain):
        _check_labels(labels)
    _check_storage(domain.devices)
    for number, hostdev in enumerate(domain.devices.hostdevs):
        check_parsed_hostdev(hostdev, domain.devices.hostdevs[:number])
        check_auth(hostdev.source.auth)
    check_usb_controllers(domain.devices.controllers)
    for interface in domain.devices.interfaces:
        _check_interface(interface)
    cards = [
        interface.source.host_address
        for interface in domain.devices.interfaces
        if interface.type == "hostdev" and interface.source is not None
    ]
    if any(card in cards[:number] for number, card in enumerate(cards)):
        detail = "Hostdev already exists in the domain configuration"
        raise ConfError("xml", detail, "domain/devices/interface")
    for shmem in domain.devices.shmems:
        if shmem.msi is not None and shmem.server_path is None:
            raise ConfError("xml", "msi option is only supported with a server", "shmem/msi")


def check_parsed_device(tag: str, device: Device) -> None:
    """Check a device of its own before its defaults are filled in.

    Raises:
        ConfError: the kind is libvirt's code.
    """
    domain = Domain(devices=Devices())
    set_devices(domain.devices, tag, [device])
    check_parsed_devices(domain)


def char_sources(domain: Domain) -> Iterator[CharSource]:
    """List the sources of all character devices.

    A first console that stands for the first serial port has that one's source.
    """
    devices = domain.devices
    first = devices.consoles[0] if devices.consoles else None
    paired = bool(devices.serials) and first is not None and first.target_type in (None, "serial")
    yield from devices.serials
    yield from devices.parallels
    yield from devices.consoles[1 if paired else 0 :]
    yield from devices.channels
    yield from devices.redirdevs
    yield from (card for card in devices.smartcards if card.mode == "passthrough")
    yield from (rng.backend for rng in devices.rngs if rng.backend.model == "egd")


def _check_char_targets(domain: Domain) -> None:
    devices = domain.devices
    for group, kinds in (
        (devices.serials, SERIAL_TARGETS),
        (devices.consoles, CONSOLE_TARGETS),
        (devices.channels, CHANNEL_TARGETS),
    ):
        for item in group:
            if item.target_type is None and kinds is CHANNEL_TARGETS:
                detail = "target type must be specified for channel device"
                raise ConfError("xml", detail, "channel/target/@type")
            if item.target_type is None or item.target_type in kinds:
                continue
            detail = f"unknown target type '{item.target_type}' specified for character device"
            raise ConfError(UNSUPPORTED, detail, "target/@type")
    for serial in devices.serials:
        if serial.target_model is not None and serial.target_model not in SERIAL_MODELS:
            detail = f"unknown target model '{serial.target_model}' specified for character device"
            raise ConfError(UNSUPPORTED, detail, "target/model/@name")


def _check_storage(devices: Devices) -> None:
    for disk in devices.disks:
        _check_disk(disk)
    for filesystem in devices.filesystems:
        _check_filesystem(filesystem)


def _check_disk(disk: Disk) -> None:
    _check_disk_source(disk)
    for encryption in (disk.encryption, disk.source.encryption if disk.source else None):
        _check_encryption(encryption)
    auth = disk.auth or (disk.source.auth if disk.source else None)
    check_auth(auth)
    secret = auth.secret if auth else None
    if disk.type == "network" and secret is not None and secret.type not in SECRET_TYPES:
        detail = f"unknown secret type '{secret.type or '<null>'}'"
        raise ConfError(UNSUPPORTED, detail, "auth/secret/@type")
    expected = SECRET_OF.get(disk.source.protocol or "") if disk.source else None
    if secret is not None and expected is not None and secret.type != expected:
        raise ConfError(UNSUPPORTED, f"invalid secret type '{secret.type}'", "auth/secret/@type")


def _check_disk_source(disk: Disk) -> None:
    """Check attributes that count for one type of source alone."""
    source = disk.source
    path = "domain/devices/disk/source"
    if source is None:
        return
    if disk.type == "volume" and source.mode not in (None, "host", "direct"):
        detail = f"unknown source mode '{source.mode}' for volume type disk"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@mode")
    if disk.type == "vhostuser" and source.source_type != "unix":
        wrong = "invalid" if source.source_type else "missing"
        raise ConfError("xml", f"{wrong} 'type' attribute for vhostuser disk source", path)
    if disk.type == "vhostuser" and source.path is None:
        raise ConfError("xml", "missing 'path' attribute for vhostuser disk source", path)
    policy = source.startup_policy
    if policy is not None and disk.type in REMOTE_DISKS:
        detail = f"disk startupPolicy '{policy}' is not allowed for disk of '{disk.type}' type"
        raise ConfError("xml", detail, f"{path}/@startupPolicy")
    if policy == "requisite" and disk.device not in ("cdrom", "floppy"):
        detail = f"disk startupPolicy '{policy}' is allowed only for cdrom or floppy"
        raise ConfError("xml", detail, f"{path}/@startupPolicy")


def _check_filesystem(filesystem: Filesystem) -> None:
    path = "domain/devices/filesystem"
    if filesystem.type == "ram":
        if filesystem.usage is None:
            raise ConfError("xml", "missing 'usage' attribute for RAM filesystem", f"{path}/source")
    elif filesystem.type == "volume":
        source = filesystem.source or FilesystemSource()
        if (source.pool is None) != (source.volume is None):
            detail = "'pool' and 'volume' must be specified together for 'pool' type source"
            raise ConfError("xml", detail, f"{path}/source")
    elif filesystem.source_path is None and filesystem.source_socket is None:
        raise ConfError("no_source", filesystem.target_dir or "", f"{path}/source")
    if not filesystem.target_dir:
        raise ConfError("no_target", filesystem.source_path or "", f"{path}/target")


def _check_interface(interface: Interface) -> None:
    path = "domain/devices/interface"
    if interface.model is not None and not INTERFACE_MODEL.fullmatch(interface.model):
        raise ConfError("invalid_arg", "Model name contains invalid characters", f"{path}/model")
    required = INTERFACE_SOURCES.get(interface.type, ())
    if required and interface.source is None:
        detail = f"interface type='{interface.type}' requires a 'source' element"
        raise ConfError("xml", detail, f"{path}/source")
    for name in required:
        if getattr(interface.source, name) is None:
            detail = f"Missing required attribute '{name}' in element 'source'"
            raise ConfError("xml", detail, f"{path}/source/@{name}")
    if interface.type == "vhostuser":
        _check_vhostuser(interface)
    for route in interface.routes:
        check_route("guest interface", route)


def _check_vhostuser(interface: Interface) -> None:
    path, source = "domain/devices/interface", interface.source
    assert source is not None, "required"
    if source.type != "unix":
        detail = f"Type='{source.type}' unsupported for <interface type='vhostuser'>"
        raise ConfError(UNSUPPORTED, detail, f"{path}/source/@type")
    if source.mode not in ("server", "client"):
        detail = f"Invalid value for attribute 'mode' in element 'source': '{source.mode}'."
        raise ConfError("xml", detail, f"{path}/source/@mode")
    if source.mode == "server" and source.reconnect is not None and source.reconnect.enabled:
        detail = "'reconnect' attribute unsupported 'server' mode for <interface type='vhostuser'>"
        raise ConfError(UNSUPPORTED, detail, f"{path}/source/reconnect")
    if (interface.model or "").lower() not in VIRTIO_NETS:
        detail = (
            "Wrong or no <model> 'type' attribute specified with <interface type='vhostuser'/>. "
            "vhostuser requires the virtio-net* frontend"
        )
        raise ConfError("internal", detail, f"{path}/model/@type")


def _check_char_source(source: CharSource) -> None:
    path = "source"
    if source.type != "udp" and len(source.ends) > 1:
        detail = "only one source element is allowed for character device"
        raise ConfError("xml", detail, path)
    end = source.first if source.ends else None
    service = end.service if end is not None else None
    if source.type == "tcp" and (end is None or end.host is None):
        raise ConfError("internal", "Missing source host attribute for char device", path)
    if source.type == "udp":
        service = source.connect_service  # the port to listen on may be QEMU's choice
    if source.type in ("tcp", "udp") and service is None:
        detail = "Missing source service attribute for char device"
        raise ConfError("internal", detail, f"{path}/@service")
    # A redirected USB device over D-Bus has a channel of its own where none is named.
    named = source.type == "spiceport" or (
        source.type == "dbus" and not isinstance(source, Redirdev)
    )
    if named and (end is None or end.channel is None):
        detail = "Missing source channel attribute for char device"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@channel")
    if named and end is not None and not set(end.channel or "") <= CHANNEL_CHARACTERS:
        detail = "Invalid character in source channel for char device"
        raise ConfError("invalid_arg", detail, f"{path}/@channel")
    if source.type in ("file", "dev", "pipe") and (end is None or end.path is None):
        raise ConfError("internal", "Missing source path attribute for char device", path)
    reconnect = end.reconnect if end is not None else None
    if reconnect is not None and reconnect.enabled and reconnect.timeout == 0:
        detail = "chardev reconnect source timeout cannot be '0'"
        raise ConfError("invalid_arg", detail, f"{path}/reconnect/@timeout")


def _check_listens(graphics: Graphics) -> None:
    path = "domain/devices/graphics/listen"
    for listen in graphics.listens:
        if listen.socket and listen.type != "socket":
            detail = "'socket' attribute is valid only for listen type 'socket'"
            raise ConfError("xml", detail, f"{path}/@socket")
        if listen.type == "network" and not listen.network:
            detail = "'network' attribute is required for listen type 'network'"
            raise ConfError("xml", detail, path)
        if listen.network and listen.type != "network":
            detail = "network attribute is only valid for listen type 'network'"
            raise ConfError("xml", detail, path)
    first = next((listen for listen in graphics.listens if listen.type == "address"), None)
    if graphics.listen and first is not None and first.address != graphics.listen:
        detail = (
            f"graphics 'listen' attribute '{graphics.listen}' must match 'address' attribute of "
            f"first listen element (found '{first.address or 'none'}')"
        )
        raise ConfError(UNSUPPORTED, detail, path)


def _source_labels(domain: Domain) -> Iterator[list[SourceLabel]]:
    for disk in domain.devices.disks:
        if disk.source is not None:
            yield disk.source.labels
        under = disk.backing_store
        while under is not None:
            if under.source is not None:
                yield under.source.labels
            under = under.backing_store
    yield from (end.labels for source in char_sources(domain) for end in source.ends)


def _check_labels(labels: list[SourceLabel]) -> None:
    model = first_repeated([label.model for label in labels if label.model is not None])
    if model is not None:
        raise ConfError("xml_detail", f"seclabel for model {model} is already provided", "seclabel")


def check_auth(auth: Auth | None) -> None:
    """Check who asks a storage server.

    Raises:
        ConfError: "xml"; "config_unsupported".
    """
    if auth is None:
        return
    if not auth.username:
        raise ConfError("xml", "missing username for auth", "auth/@username")
    if auth.secret is None:
        raise ConfError("xml", "Missing <secret> element in auth", "auth/secret")


def _check_encryption(encryption: Encryption | None) -> None:
    path = "encryption/secret"
    for secret in encryption.secrets if encryption else ():
        if secret.type is None:
            raise ConfError("xml", "unknown volume encryption secret type", f"{path}/@type")
        if secret.type != "passphrase":
            detail = f"unknown volume encryption secret type {secret.type}"
            raise ConfError(UNSUPPORTED, detail, f"{path}/@type")
