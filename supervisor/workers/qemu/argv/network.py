"""Interfaces: -netdev and the NIC.

Owns: both for every type of interface; taps and sockets come from the worker as descriptors.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.interface import Interface, InterfaceSource
from conf.errors import ConfError
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.launch_inputs import Context, Fd, Options, Props, device
from supervisor.workers.qemu.argv.syntax import Json, Option, json_of, options_of
from supervisor.workers.qemu.argv.virtio import SUFFIXES, virtio_props

TAP_TYPES: Final = frozenset({"network", "bridge", "ethernet", "direct"})
VIRTIO_MODELS: Final = frozenset({"virtio", *SUFFIXES})


def interfaces(context: Context) -> Options:
    """Build -netdev and NIC of every interface."""
    for interface in context.domain.devices.interfaces:
        if interface.type != "hostdev":
            yield from interface_options(context, interface)


def interface_options(context: Context, interface: Interface) -> Options:
    """Build -netdev and NIC of one interface."""
    if interface.type == "vhostuser":
        yield "-chardev", _stream_address(interface)
    yield "-netdev", json_of(_netdev(context, interface))
    yield device(_nic(context, interface))


def _netdev(context: Context, interface: Interface) -> Props:
    name = f"host{interface.alias}"
    match interface.type:
        case "user":
            return {"type": "user", **_user(interface), "id": name}
        case "server" | "client" | "mcast" | "udp":
            return {"type": "socket", **_socket(interface), "id": name}
        case "vhostuser":
            return {
                "type": "vhost-user",
                "chardev": f"char{interface.alias}",
                "queues": _queues(interface),
                "id": name,
            }
        case kind if kind in TAP_TYPES:
            return {"type": "tap", **_tap(context, interface), "id": name}
    raise ConfError(
        "config_unsupported",
        f"interface type '{interface.type}' cannot be started; use type='user'",
    )


def _stream_address(interface: Interface) -> str:
    """Build the socket chardev of a vhost-user backend.

    Raises:
        ConfError: "config_unsupported": only virtio models have vhost-user.
    """
    source = interface.source or InterfaceSource()
    if interface.model not in VIRTIO_MODELS:
        raise ConfError(
            "config_unsupported",
            f"an interface of type 'vhostuser' needs the model 'virtio', not '{interface.model}'",
        )
    if source.type not in (None, "unix"):
        raise ConfError(
            "config_unsupported",
            f"vhostuser: source type '{source.type}' is not supported; only 'unix' is",
        )
    reconnect = source.reconnect
    again = (reconnect.timeout or 0) if reconnect and reconnect.enabled else None
    members: dict[str, Option] = {
        "id": f"char{interface.alias}",
        "path": source.path,
        "server": True if source.mode == "server" else None,
        "reconnect": None if source.mode == "server" else again,
    }
    return options_of(("socket",), members)


def _queues(interface: Interface) -> int | None:
    queues = interface.driver.queues if interface.driver else None
    return queues if queues is not None and queues > 1 else None


def _user(interface: Interface) -> Props:
    """Build the user-mode network (SLIRP) with the guest's addresses."""
    props: Props = {}
    for address in interface.ips:
        if address.family == "ipv6":
            props["ipv6-prefix"] = address.address
            props["ipv6-prefixlen"] = address.prefix
        else:
            prefix = 24 if address.prefix is None else address.prefix
            props["net"] = f"{address.address}/{prefix}"
    return props


def _socket(interface: Interface) -> Props:
    """Build a socket tunnel between guests."""
    source = interface.source or InterfaceSource()
    where = f"{source.address or ''}:{source.port}"
    match interface.type:
        case "server":
            return {"listen": where}
        case "client":
            return {"connect": where}
        case "mcast":
            return {"mcast": where}
    local = source.local_port is not None
    near = f"{source.local_address or ''}:{source.local_port}" if local else None
    return {"udp": where, "localaddr": near}


def _tap(context: Context, interface: Interface) -> Props:
    """Build a tap that netd has opened, with a descriptor for each queue."""
    alias = interface.alias or ""
    taps = context.inputs.tap_fds.get(alias)
    if not taps:
        raise ConfError(
            "config_unsupported",
            f"interface type '{interface.type}' needs netd to make its tap device, which is not "
            "available; use type='user'",
        )
    vhosts = context.inputs.vhost_fds.get(alias, ())
    props: Props = _fd_member("fd", taps)
    if vhosts:
        props |= {"vhost": True, **_fd_member("vhostfd", vhosts)}
    if interface.tune is not None:
        props["sndbuf"] = interface.tune
    return props


def _fd_member(name: str, fds: tuple[Fd, ...]) -> Props:
    if len(fds) == 1:
        return {name: str(fds[0])}
    return {f"{name}s": ":".join(str(fd) for fd in fds)}


def _nic(context: Context, interface: Interface) -> Props:
    model = interface.model or "rtl8139"
    props: Props = {"driver": _driver(model)}
    if model in VIRTIO_MODELS:
        props |= virtio_props(interface.driver)
        props |= _virtio_nic(context, interface)
    props |= {
        "host_mtu": interface.mtu if model in VIRTIO_MODELS else None,
        "netdev": f"host{interface.alias}",
        "id": interface.alias,
        "mac": interface.mac,
        "bootindex": context.boot_order(interface),
    }
    props |= placed(context, interface.address)
    props["acpi-index"] = interface.acpi_index
    return props | {"rombar": _rombar(interface), "romfile": _romfile(interface)}


def _driver(model: str) -> str:
    if model in VIRTIO_MODELS:
        return f"virtio-net-pci{SUFFIXES.get(model, '')}"
    return model


def _rombar(interface: Interface) -> int | None:
    rom = interface.rom
    return None if rom is None or rom.bar is None else int(rom.bar)


def _romfile(interface: Interface) -> str | None:
    rom = interface.rom
    if rom is None:
        return None
    return "" if rom.enabled is False else rom.file


OFFLOADS: Final = (
    ("csum", "host", "csum"), ("gso", "host", "gso"), ("host_tso4", "host", "tso4"),
    ("host_tso6", "host", "tso6"), ("host_ecn", "host", "ecn"), ("host_ufo", "host", "ufo"),
    ("mrg_rxbuf", "host", "mrg_rxbuf"), ("guest_csum", "guest", "csum"),
    ("guest_tso4", "guest", "tso4"), ("guest_tso6", "guest", "tso6"),
    ("guest_ecn", "guest", "ecn"), ("guest_ufo", "guest", "ufo"),
)  # fmt: skip


def _virtio_nic(context: Context, interface: Interface) -> Props:
    """Build the properties that only virtio-net has."""
    driver = interface.driver
    if driver is None:
        return {}
    props: Props = {}
    if driver.tx_mode is not None:
        props["tx"] = "bh" if driver.tx_mode == "iothread" else driver.tx_mode
    props |= {"ioeventfd": driver.ioeventfd, "event_idx": driver.event_idx}
    for name, side, attribute in OFFLOADS:
        offloads = driver.host if side == "host" else driver.guest
        value: Json | None = getattr(offloads, attribute) if offloads else None
        props[name] = value
    queues = _queues(interface)
    if queues is not None:
        props |= {"mq": True, "vectors": 2 * queues + 2}
    return props | {
        "rx_queue_size": driver.rx_queue_size,
        "tx_queue_size": driver.tx_queue_size,
        "rss": driver.rss,
        "hash": driver.rss_hash_report,
    }
