"""What libvirt's status files have of a domain's devices, and its live XML has not. Pure.

Owns: <privateData> and <actual>, added to the live XML that this daemon formats, and taken away
again: `live_text(status_text(xml)) == xml`. May touch: text only.
Source: libvirt 9.0, qemuStorageSourcePrivateDataFormat, qemuDomainDiskPrivateFormat,
virDomainActualNetDefFormat.

A status file is written at each change of state by a worker that has never parsed the XML, so this
works on lines: the formatter writes an element's start on one line, and the devices last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

#: A worker writes the file at each change of its guest; the devices change far less often.
cache_last: Final = lru_cache(maxsize=1)
DEVICES: Final = "\n  <devices>\n"
DEVICES_END: Final = "\n  </devices>\n"
DEVICE: Final = "    <"  # but for the end of one
INDEX: Final = re.compile(r"\sindex='(\d+)'")
SOURCE: Final = re.compile(r"\s*<source(?: [^>]*?)?(/?)>$")
STORE: Final = re.compile(r"\s*<backingStore [^>]*>$")
TARGET: Final = re.compile(r"\s*<target dev='([^']*)' bus='([^']*)'")
ALIAS: Final = re.compile(r"      <alias name='([^']*)'/>$")
COPY_ON_READ: Final = re.compile(r"\s*<driver [^>]*copy_on_read='on'")
INTERFACE: Final = re.compile(r"    <interface type='(network|bridge|direct)'")
ON_NETWORK: Final = re.compile(r"      <source [^>]*\bnetwork='[^']*'[^>]*>$")
#: Of the source of an interface on a network, what was chosen when it was attached.
CHOSEN: Final = re.compile(r"\s((?:bridge|dev|mode)='[^']*')")
#: Children of such an interface that come from the network, too.
FROM_NETWORK: Final = re.compile(r"      <(virtualport|vlan|bandwidth)\b[^>]*?(/?)>$")

IN_SOURCE: Final = re.compile(r"><privateData>.*</privateData></source>$")
PRIVATE: Final = re.compile(r"\s*<privateData>.*</privateData>$")
ACTUAL: Final = re.compile(r"      <actual type='(\w+)'.*</actual>$")
TYPE: Final = re.compile(r" type='\w+'")


def status_text(live_xml: str) -> str:
    """Add to live XML what libvirt needs to drive the guest."""
    return _map_devices(live_xml, _status_devices)


def live_text(status_xml: str) -> str:
    """Take away what `status_text` has added."""
    return _map_devices(status_xml, _live_devices)


def highest_index(live_xml: str) -> int:
    """Return the highest number of a block node in live XML; 0: there is none."""
    return _highest_index(live_xml[max(live_xml.rfind(DEVICES), 0) :])


@cache_last
def _highest_index(devices: str) -> int:
    lines = (line for line in devices.split("\n") if " index='" in line)
    found = (INDEX.search(line) for line in lines if SOURCE.match(line) or STORE.match(line))
    return max((int(match[1]) for match in found if match), default=0)


def _map_devices(xml: str, change: Callable[[str], str]) -> str:
    start = xml.rfind(DEVICES)
    end = xml.find(DEVICES_END, start)
    if not 0 <= start < end:
        return xml
    start += len(DEVICES)
    return xml[:start] + change(xml[start:end]) + xml[end:]


@cache_last
def _status_devices(devices: str) -> str:
    return "\n".join(_with_private_data(devices.split("\n")))


def _live_devices(devices: str) -> str:
    return "\n".join(_without_private_data(devices.split("\n")))


def _with_private_data(lines: list[str]) -> Iterator[str]:
    for device in _devices(lines):
        if device[0].startswith("    <disk "):
            yield from _disk(device)
        elif INTERFACE.match(device[0]):
            yield from _interface(device)
        else:
            yield from device


def _devices(lines: list[str]) -> Iterator[list[str]]:
    """Split the devices' lines into one list a device."""
    device: list[str] = []
    for line in lines:
        if device and line.startswith(DEVICE) and line[len(DEVICE)] != "/":
            yield device
            device = []
        device.append(line)
    yield device


def _disk(lines: list[str]) -> Iterator[str]:
    bus = target = alias = index = ""
    copies = False
    for line in lines[:-1]:
        tag, source = line.lstrip(), None
        # A chain has hundreds of lines, and most are <format> and ends of elements.
        if tag.startswith("<source"):
            source = SOURCE.match(line)
        elif tag.startswith("<backingStore") and STORE.match(line):
            number = INDEX.search(line)
            index = number[1] if number else ""
        elif tag.startswith("<driver"):
            copies = copies or COPY_ON_READ.match(line) is not None
        elif tag.startswith("<target") and (found := TARGET.match(line)) is not None:
            target, bus = found[1], found[2]
        elif tag.startswith("<alias") and (found := ALIAS.match(line)) is not None:
            alias = found[1]
        number = INDEX.search(line) if source else None
        index = number[1] if number else index
        if source is None or not index:
            yield line
            continue
        yield from _add_to(line, source[1], _nodes(index))
        index = ""
    if alias and lines[-1] == "    </disk>":
        copy_on_read = _node("copyOnRead", f"libvirt-CoR-{target}") if copies else ""
        name = f"<qom name='{_drive(alias, bus)}'/>"
        yield f"      <privateData>{name}{_nodenames(copy_on_read)}</privateData>"
    yield lines[-1]


def _add_to(line: str, is_empty: str, added: str) -> Iterator[str]:
    if is_empty:
        yield f"{line[:-2]}>{added}</source>"
        return
    indent = line[: len(line) - len(line.lstrip())]
    yield line
    yield f"{indent}  {added}"


def _nodes(index: str) -> str:
    """Name the nodes of an image (`supervisor.workers.qemu.block.nodes`)."""
    nodes = _node("storage", f"libvirt-{index}-storage") + _node(
        "format", f"libvirt-{index}-format"
    )
    return f"<privateData>{_nodenames(nodes)}</privateData>"


def _node(kind: str, name: str) -> str:
    return f"<nodename type='{kind}' name='{name}'/>"


def _nodenames(nodes: str) -> str:
    return f"<nodenames>{nodes}</nodenames>" if nodes else ""


def _drive(alias: str, bus: str) -> str:
    """Name a disk's drive as QEMU's block commands know it."""
    if bus == "virtio":
        return f"/machine/peripheral/{alias}/virtio-backend"
    if bus == "usb":
        return f"/machine/peripheral/{alias}/{alias}.0/legacy[0]"
    return alias


def _interface(lines: list[str]) -> Iterator[str]:
    """Say of an interface on a network what it is attached to, and to which network that belongs.

    The live XML of one on a network of the host's bridges is of type bridge; libvirt's status has
    type network there, and the other in <actual>.
    """
    place = next((place for place, line in enumerate(lines) if ON_NETWORK.match(line)), None)
    header = INTERFACE.match(lines[0])
    if place is None or header is None or not (chosen := CHOSEN.findall(lines[place])):
        yield from lines
        return
    yield TYPE.sub(" type='network'", lines[0], count=1)
    for number, line in enumerate(lines[1:], 1):
        yield line
        # Its source may have children; <actual> follows the element.
        if number == _end_of(lines, place):
            source = f"<source {' '.join(chosen)}/>"
            inner = source + "".join(_from_network(lines))
            yield f"      <actual type='{header[1]}'>{inner}</actual>"


def _end_of(lines: list[str], place: int) -> int:
    if lines[place].endswith("/>"):
        return place
    return lines.index("      </source>", place)


def _from_network(lines: list[str]) -> Iterator[str]:
    place = 0
    while place < len(lines):
        found = FROM_NETWORK.match(lines[place])
        if found is None:
            place += 1
            continue
        end = place if found[2] else lines.index(f"      </{found[1]}>", place)
        yield "".join(line.strip() for line in lines[place : end + 1])
        place = end + 1


def _without_private_data(lines: list[str]) -> Iterator[str]:
    for device in _devices(lines):
        kind = next((found[1] for line in device if (found := ACTUAL.match(line))), None)
        for number, line in enumerate(device):
            if number == 0 and kind is not None:
                yield TYPE.sub(f" type='{kind}'", line, count=1)
            elif not PRIVATE.match(line) and not ACTUAL.match(line):
                yield IN_SOURCE.sub("/>", line)
