"""Conversion of LXC's native configuration to domain XML.

Owns: which setting becomes which element. Pure. What has no element is left out: it does not say
what domain XML has no element for.
Source: libvirt 9.0's connection call for the format "lxc-tools"; lxc.container.conf(5).
"""

from __future__ import annotations

import ipaddress
import shlex
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.native.lxc_settings import (
    NetworkSettings,
    Settings,
    parse_number,
    parse_size,
    read_settings,
)

MEMORY_KIB: Final = 65536  # what stock gives where the file says nothing
#: File systems that every container has, or that are the kernel's own.
KERNEL_S: Final = ("proc", "sysfs", "devpts", "cgroup", "cgroup2", "mqueue", "devtmpfs", "debugfs")
SELF: Final = ("empty", "none", "")
MACVLAN: Final = {"": "vepa", "vepa": "vepa", "bridge": "bridge", "private": "private"}
ROOTS: Final = ("/usr/lib/lxc/rootfs", "/usr/lib/x86_64-linux-gnu/lxc/rootfs")

Element = etree._Element


def domain_xml_of(text: str) -> str:
    """Convert an LXC configuration to domain XML, without defaults.

    Raises:
        ConfError: "invalid_arg": a value is wrong, or there is no root; "argument_unsupported": a
            file of mounts is named, which is not here.
    """
    settings = read_settings(text)
    root = etree.Element("domain", type="lxc")
    try:
        _add(root, "name", settings.get("lxc.uts.name") or "unnamed")
        _limits(root, settings)
        _boot(root, settings)
        _idmap(root, settings)
        _features(root, settings)
        devices = etree.SubElement(root, "devices")
        _filesystems(devices, settings)
        for interface in settings.interfaces:
            _interface(devices, interface)
        _consoles(devices, settings)
    except ValueError as error:  # what XML cannot hold; a missing closing quote
        detail = f"the configuration cannot be expressed in XML: {error}"
        raise ConfError("invalid_arg", detail) from error
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def _add(parent: Element, tag: str, text: str = "", /, **attributes: str) -> Element:
    element = etree.SubElement(parent, tag, attributes)
    if text:
        element.text = text
    return element


def _cgroup(settings: Settings, version_1: str, version_2: str = "") -> str:
    keys = [f"lxc.cgroup.{version_1}", f"lxc.cgroup2.{version_2}"]
    return settings.get(*keys[: 2 if version_2 else 1])


def _kib(settings: Settings, version_1: str, version_2: str = "") -> int | None:
    value = _cgroup(settings, version_1, version_2)
    size = parse_size(value, version_1) if value else None
    return None if size is None else size >> 10


def _limits(root: Element, settings: Settings) -> None:
    hard = _kib(settings, "memory.limit_in_bytes", "memory.max")
    _add(root, "memory", str(hard or MEMORY_KIB), unit="KiB")
    tuned = {
        "hard_limit": hard,
        "soft_limit": _kib(settings, "memory.soft_limit_in_bytes", "memory.low"),
        "swap_hard_limit": _kib(settings, "memory.memsw.limit_in_bytes"),
    }
    if any(value is not None for value in tuned.values()):
        memtune = _add(root, "memtune")
        for name, value in tuned.items():
            if value is not None:
                _add(memtune, name, str(value), unit="KiB")
    weight = _cgroup(settings, "blkio.weight")
    if weight:
        _add(_add(root, "blkiotune"), "weight", str(parse_number(weight, "blkio.weight")))
    cpus = _cgroup(settings, "cpuset.cpus", "cpuset.cpus")
    _add(root, "vcpu", "1", **({"placement": "static", "cpuset": cpus} if cpus else {}))
    _cputune(root, settings)
    nodes = _cgroup(settings, "cpuset.mems", "cpuset.mems")
    if nodes:
        _add(_add(root, "numatune"), "memory", mode="strict", nodeset=nodes)


def _cputune(root: Element, settings: Settings) -> None:
    keys = {"shares": "cpu.shares", "period": "cpu.cfs_period_us", "quota": "cpu.cfs_quota_us"}
    values = {name: _cgroup(settings, key) for name, key in keys.items()}
    if any(values.values()):
        cputune = _add(root, "cputune")
        for name, value in values.items():
            if value:
                _add(cputune, name, str(parse_number(value, keys[name])))


def _boot(root: Element, settings: Settings) -> None:
    boot = _add(root, "os")
    arch = settings.get("lxc.arch")
    kinds = {"x86": "i686", "i386": "i686", "i686": "i686", "amd64": "x86_64"}
    _add(boot, "type", "exe", **({"arch": kinds.get(arch, arch)} if arch else {}))
    init, *values = shlex.split(settings.get("lxc.init.cmd")) or ["/sbin/init"]
    _add(boot, "init", init)
    for text in values:
        _add(boot, "initarg", text)
    for variable in settings.get_all("lxc.environment"):
        name, equals, value = variable.partition("=")
        if equals and name:
            _add(boot, "initenv", value, name=name)
    for key, element in (
        ("lxc.init.cwd", "initdir"),
        ("lxc.init.uid", "inituser"),
        ("lxc.init.gid", "initgroup"),
    ):
        if settings.get(key):
            _add(boot, element, settings.get(key))


def _idmap(root: Element, settings: Settings) -> None:
    ranges = [value.split() for value in settings.get_all("lxc.idmap")]
    if not ranges:
        return
    idmap = _add(root, "idmap")
    for letter, name in (("u", "uid"), ("g", "gid")):
        for values in ranges:
            if len(values) != 4 or values[0] not in ("u", "g"):
                raise ConfError("invalid_arg", f"lxc.idmap = {' '.join(values)}: no range of users")
            if values[0] == letter:
                start, target, count = (str(parse_number(text, "lxc.idmap")) for text in values[1:])
                _add(idmap, name, start=start, target=target, count=count)


def _features(root: Element, settings: Settings) -> None:
    """Write <features>: a network namespace unless a network has the type "none"; capabilities."""
    features = _add(root, "features")
    if not any(card.type == "none" for card in settings.interfaces):
        _add(features, "privnet")
    for key, policy, state in (("drop", "default", "off"), ("keep", "deny", "on")):
        names = [text for value in settings.get_all(f"lxc.cap.{key}") for text in value.split()]
        if names:
            element = _add(features, "capabilities", policy=policy)
            for name in dict.fromkeys(names):
                if name != "none":
                    _add(element, name.lower().removeprefix("cap_"), state=state)
            return


def _filesystems(devices: Element, settings: Settings) -> None:
    if settings.get("lxc.mount.fstab"):
        detail = "lxc.mount.fstab names a file of mounts; write them as lxc.mount.entry lines here"
        raise ConfError("argument_unsupported", detail)
    path = settings.get("lxc.rootfs.path")
    if not path:
        raise ConfError("invalid_arg", "Missing lxc.rootfs.path: the container has no root")
    backend, colon, rest = path.partition(":")
    if colon and "/" not in backend:
        path = rest
    if colon and backend not in ("dir", "loop") and "/" not in backend:
        detail = f"a root of kind '{backend}' is made by LXC alone; give its folder: {rest}"
        raise ConfError("argument_unsupported", detail)
    kind = "file" if colon and backend == "loop" else "block" if path.startswith("/dev/") else ""
    _filesystem(devices, kind or "mount", path, "/", readonly=False)
    for entry in settings.get_all("lxc.mount.entry"):
        _mount_entry(devices, entry, path)


def _mount_entry(devices: Element, entry: str, root: str) -> None:
    values = [text.replace("\\040", " ") for text in entry.split()]
    if len(values) < 3:
        raise ConfError("invalid_arg", f"lxc.mount.entry = {entry}: SOURCE TARGET TYPE OPTIONS")
    source, target, kind = values[:3]
    options = values[3].split(",") if len(values) > 3 else []
    if kind in KERNEL_S:
        return
    for prefix in (root, *ROOTS):
        if target.startswith(f"{prefix}/"):
            target = target.removeprefix(prefix)
            break
    target = f"/{target.lstrip('/')}"
    readonly = "ro" in options
    if kind == "tmpfs":
        size = next((text.removeprefix("size=") for text in options if text[:5] == "size="), "0")
        usage = str((parse_size(size, "lxc.mount.entry") or 0) >> 10)
        _filesystem(devices, "ram", "", target, readonly=readonly, usage=usage)
    elif source.startswith("/dev/") and not {"bind", "rbind"} & set(options):
        _filesystem(devices, "block", source, target, readonly=readonly)
    else:
        _filesystem(devices, "mount", source, target, readonly=readonly)


def _filesystem(
    devices: Element, kind: str, source: str, target: str, *, readonly: bool, usage: str = ""
) -> None:
    element = _add(devices, "filesystem", type=kind)
    if kind == "ram":
        _add(element, "source", usage=usage, units="KiB")
    else:
        name = {"file": "file", "block": "dev"}.get(kind, "dir")
        _add(element, "source", **{name: source})
    _add(element, "target", dir=target)
    if readonly:
        _add(element, "readonly")


def _interface(devices: Element, network: NetworkSettings) -> None:
    if network.type in SELF:
        return
    link = network.get("link")
    if network.type in ("phys", "vlan"):
        name = f"{link}.{network.get('vlan.id')}" if network.type == "vlan" else link
        element = _add(devices, "hostdev", mode="capabilities", type="net")
        _add(_add(element, "source"), "interface", name)
        _addresses(element, network)
        return
    if network.type == "veth":
        element = _add(devices, "interface", type="bridge" if link else "ethernet")
        if link:
            _add(element, "source", bridge=link)
    elif network.type == "macvlan":
        mode = MACVLAN.get(network.get("macvlan.mode"))
        if mode is None:
            detail = f"a macvlan of mode '{network.get('macvlan.mode')}' is no <interface>"
            raise ConfError("argument_unsupported", detail)
        element = _add(devices, "interface", type="direct")
        _add(element, "source", dev=link, mode=mode)
    else:
        raise ConfError(
            "argument_unsupported", f"a network of type '{network.type}' has no <interface>"
        )
    mac = network.get("hwaddr")
    if mac and "x" not in mac.lower():  # "xx" has LXC choose
        _add(element, "mac", address=mac)
    if network.get("name"):
        _add(element, "guest", dev=network.get("name"))
    _add(element, "link", state="up" if network.get("flags") == "up" else "down")
    _addresses(element, network)


def _addresses(element: Element, network: NetworkSettings) -> None:
    for family in ("ipv4", "ipv6"):
        for value in network.settings.get(f"{family}.address", []):
            try:
                address = ipaddress.ip_interface(value.split()[0]) if value else None
            except ValueError as error:
                detail = f"{family}.address = {value}: {error}"
                raise ConfError("invalid_arg", detail) from error
            if address is not None:
                prefix = str(address.network.prefixlen)
                _add(element, "ip", address=str(address.ip), family=family, prefix=prefix)
    for family, everything in (("ipv4", "0.0.0.0"), ("ipv6", "::")):
        gateway = network.get(f"{family}.gateway")
        if gateway and gateway not in ("auto", "dev"):
            _add(element, "route", family=family, address=everything, prefix="0", gateway=gateway)


def _consoles(devices: Element, settings: Settings) -> None:
    """Write a <console> for each terminal, and at least one, for without it there is no login."""
    value = settings.get("lxc.tty.max")
    number = parse_number(value, "lxc.tty.max") if value else 1
    for _ in range(max(1, min(number, 64))):
        _add(devices, "console", type="pty")
