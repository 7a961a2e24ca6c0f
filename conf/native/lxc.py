"""A container's document made of LXC's own configuration.

Owns: which setting becomes which element. Pure. What has no element is left out: it does not say
what the container is given, or is LXC's own business.
Source: libvirt 9.0's connection call for the format "lxc-tools"; lxc.container.conf(5).
"""

from __future__ import annotations

import ipaddress
import shlex
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.native.lxc_settings import Card, Settings, number_of, read_settings, size_of

MEMORY_KIB: Final = 65536  # what stock gives where the file says nothing
#: File systems that every container has, or that are the kernel's own.
KERNEL_S: Final = ("proc", "sysfs", "devpts", "cgroup", "cgroup2", "mqueue", "devtmpfs", "debugfs")
SELF: Final = ("empty", "none", "")
MACVLAN: Final = {"": "vepa", "vepa": "vepa", "bridge": "bridge", "private": "private"}
ROOTS: Final = ("/usr/lib/lxc/rootfs", "/usr/lib/x86_64-linux-gnu/lxc/rootfs")

Element = etree._Element


def document_of(text: str) -> str:
    """The document, as a client would write it: nothing in it is completed.

    Raises:
        ConfError: "invalid_arg": a value is wrong, or there is no root; "argument_unsupported": a
            file of mounts is named, which is not here.
    """
    settings = read_settings(text)
    root = etree.Element("domain", type="lxc")
    try:
        _add(root, "name", settings.one("lxc.uts.name") or "unnamed")
        _limits(root, settings)
        _boot(root, settings)
        _users(root, settings)
        _features(root, settings)
        devices = etree.SubElement(root, "devices")
        _file_systems(devices, settings)
        for card in settings.cards:
            _card(devices, card)
        _consoles(devices, settings)
    except ValueError as error:  # what XML cannot hold; words without their closing quote
        detail = f"the configuration has what no document can: {error}"
        raise ConfError("invalid_arg", detail) from error
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def _add(parent: Element, tag: str, text: str = "", /, **attributes: str) -> Element:
    made = etree.SubElement(parent, tag, attributes)
    if text:
        made.text = text
    return made


def _cgroup(settings: Settings, version_1: str, version_2: str = "") -> str:
    keys = [f"lxc.cgroup.{version_1}", f"lxc.cgroup2.{version_2}"]
    return settings.one(*keys[: 2 if version_2 else 1])


def _kib(settings: Settings, version_1: str, version_2: str = "") -> int | None:
    value = _cgroup(settings, version_1, version_2)
    size = size_of(value, version_1) if value else None
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
        _add(_add(root, "blkiotune"), "weight", str(number_of(weight, "blkio.weight")))
    cpus = _cgroup(settings, "cpuset.cpus", "cpuset.cpus")
    _add(root, "vcpu", "1", **({"placement": "static", "cpuset": cpus} if cpus else {}))
    _processor(root, settings)
    nodes = _cgroup(settings, "cpuset.mems", "cpuset.mems")
    if nodes:
        _add(_add(root, "numatune"), "memory", mode="strict", nodeset=nodes)


def _processor(root: Element, settings: Settings) -> None:
    keys = {"shares": "cpu.shares", "period": "cpu.cfs_period_us", "quota": "cpu.cfs_quota_us"}
    found = {name: _cgroup(settings, key) for name, key in keys.items()}
    if any(found.values()):
        cputune = _add(root, "cputune")
        for name, value in found.items():
            if value:
                _add(cputune, name, str(number_of(value, keys[name])))


def _boot(root: Element, settings: Settings) -> None:
    boot = _add(root, "os")
    arch = settings.one("lxc.arch")
    kinds = {"x86": "i686", "i386": "i686", "i686": "i686", "amd64": "x86_64"}
    _add(boot, "type", "exe", **({"arch": kinds.get(arch, arch)} if arch else {}))
    init, *words = shlex.split(settings.one("lxc.init.cmd")) or ["/sbin/init"]
    _add(boot, "init", init)
    for word in words:
        _add(boot, "initarg", word)
    for variable in settings.all("lxc.environment"):
        name, equals, value = variable.partition("=")
        if equals and name:
            _add(boot, "initenv", value, name=name)
    for key, element in (
        ("lxc.init.cwd", "initdir"),
        ("lxc.init.uid", "inituser"),
        ("lxc.init.gid", "initgroup"),
    ):
        if settings.one(key):
            _add(boot, element, settings.one(key))


def _users(root: Element, settings: Settings) -> None:
    ranges = [value.split() for value in settings.all("lxc.idmap")]
    if not ranges:
        return
    idmap = _add(root, "idmap")
    for letter, name in (("u", "uid"), ("g", "gid")):
        for words in ranges:
            if len(words) != 4 or words[0] not in ("u", "g"):
                raise ConfError("invalid_arg", f"lxc.idmap = {' '.join(words)}: no range of users")
            if words[0] == letter:
                start, target, count = (str(number_of(word, "lxc.idmap")) for word in words[1:])
                _add(idmap, name, start=start, target=target, count=count)


def _features(root: Element, settings: Settings) -> None:
    """Networks are the container's own unless a card says "none"; capabilities go or are kept."""
    features = _add(root, "features")
    if not any(card.type == "none" for card in settings.cards):
        _add(features, "privnet")
    for key, policy, state in (("drop", "default", "off"), ("keep", "deny", "on")):
        names = [word for value in settings.all(f"lxc.cap.{key}") for word in value.split()]
        if names:
            element = _add(features, "capabilities", policy=policy)
            for name in dict.fromkeys(names):
                if name != "none":
                    _add(element, name.lower().removeprefix("cap_"), state=state)
            return


def _file_systems(devices: Element, settings: Settings) -> None:
    if settings.one("lxc.mount.fstab"):
        detail = "lxc.mount.fstab names a file of mounts; write them as lxc.mount.entry lines here"
        raise ConfError("argument_unsupported", detail)
    path = settings.one("lxc.rootfs.path")
    if not path:
        raise ConfError("invalid_arg", "Missing lxc.rootfs.path: the container has no root")
    backend, colon, rest = path.partition(":")
    if colon and "/" not in backend:
        path = rest
    if colon and backend not in ("dir", "loop") and "/" not in backend:
        detail = f"a root of kind '{backend}' is made by LXC alone; give its folder: {rest}"
        raise ConfError("argument_unsupported", detail)
    kind = "file" if colon and backend == "loop" else "block" if path.startswith("/dev/") else ""
    _file_system(devices, kind or "mount", path, "/", readonly=False)
    for entry in settings.all("lxc.mount.entry"):
        _entry(devices, entry, path)


def _entry(devices: Element, entry: str, root: str) -> None:
    words = [word.replace("\\040", " ") for word in entry.split()]
    if len(words) < 3:
        raise ConfError("invalid_arg", f"lxc.mount.entry = {entry}: SOURCE TARGET TYPE OPTIONS")
    source, target, kind = words[:3]
    options = words[3].split(",") if len(words) > 3 else []
    if kind in KERNEL_S:
        return
    for prefix in (root, *ROOTS):
        if target.startswith(f"{prefix}/"):
            target = target.removeprefix(prefix)
            break
    target = f"/{target.lstrip('/')}"
    readonly = "ro" in options
    if kind == "tmpfs":
        size = next((word.removeprefix("size=") for word in options if word[:5] == "size="), "0")
        usage = str((size_of(size, "lxc.mount.entry") or 0) >> 10)
        _file_system(devices, "ram", "", target, readonly=readonly, usage=usage)
    elif source.startswith("/dev/") and not {"bind", "rbind"} & set(options):
        _file_system(devices, "block", source, target, readonly=readonly)
    else:
        _file_system(devices, "mount", source, target, readonly=readonly)


def _file_system(
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


def _card(devices: Element, card: Card) -> None:
    if card.type in SELF:
        return
    link = card.one("link")
    if card.type in ("phys", "vlan"):
        name = f"{link}.{card.one('vlan.id')}" if card.type == "vlan" else link
        element = _add(devices, "hostdev", mode="capabilities", type="net")
        _add(_add(element, "source"), "interface", name)
        _addresses(element, card)
        return
    if card.type == "veth":
        element = _add(devices, "interface", type="bridge" if link else "ethernet")
        if link:
            _add(element, "source", bridge=link)
    elif card.type == "macvlan":
        mode = MACVLAN.get(card.one("macvlan.mode"))
        if mode is None:
            detail = f"a macvlan of mode '{card.one('macvlan.mode')}' is no <interface>"
            raise ConfError("argument_unsupported", detail)
        element = _add(devices, "interface", type="direct")
        _add(element, "source", dev=link, mode=mode)
    else:
        raise ConfError("argument_unsupported", f"a card of type '{card.type}' is no <interface>")
    mac = card.one("hwaddr")
    if mac and "x" not in mac.lower():  # "xx" has LXC choose
        _add(element, "mac", address=mac)
    if card.one("name"):
        _add(element, "guest", dev=card.one("name"))
    _add(element, "link", state="up" if card.one("flags") == "up" else "down")
    _addresses(element, card)


def _addresses(element: Element, card: Card) -> None:
    for family in ("ipv4", "ipv6"):
        for value in card.settings.get(f"{family}.address", []):
            try:
                address = ipaddress.ip_interface(value.split()[0]) if value else None
            except ValueError as error:
                detail = f"{family}.address = {value}: {error}"
                raise ConfError("invalid_arg", detail) from error
            if address is not None:
                prefix = str(address.network.prefixlen)
                _add(element, "ip", address=str(address.ip), family=family, prefix=prefix)
    for family, everything in (("ipv4", "0.0.0.0"), ("ipv6", "::")):
        gateway = card.one(f"{family}.gateway")
        if gateway and gateway not in ("auto", "dev"):
            _add(element, "route", family=family, address=everything, prefix="0", gateway=gateway)


def _consoles(devices: Element, settings: Settings) -> None:
    """One for each terminal, and one at least, for nobody reaches a container without."""
    value = settings.one("lxc.tty.max")
    number = number_of(value, "lxc.tty.max") if value else 1
    for _ in range(max(1, min(number, 64))):
        _add(devices, "console", type="pty")
