"""libvirt's map of CPU models: its files in /usr/share/libvirt/cpu_map, of Debian's libvirt0.

Owns: reading them. May touch: those files.
Which models exist, which features each has and how features are listed is data that every libvirt
client's package installs; without it QEMU's own models take its place
(`supervisor.hostd.emulator.model_probe`), whose features have no order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from supervisor.hostd.cpu.models import CpuidBit, Model, Models, Signature

CPU_MAP: Final = Path("/usr/share/libvirt/cpu_map")
INDEX: Final = "index.xml"
#: The map's name of an architecture.
FAMILIES: Final = {"x86_64": "x86", "i686": "x86"}

#: The feature without which a processor has not the register of others, by the register's number.
MSR_OWNERS: Final = {
    0xCF: "core-capability",
    0x10A: "arch-capabilities",
    **dict.fromkeys(range(0x480, 0x492), "vmx"),
}

log = logging.getLogger(__name__)


def load_map(arch: str, directory: Path = CPU_MAP) -> Models | None:
    """Read the models of an architecture; None: it has no map, or none is installed."""
    family = FAMILIES.get(arch)
    if family is None or not (directory / INDEX).exists():
        return None
    try:
        return read_map(family, lambda name: (directory / name).read_bytes())
    except (OSError, ValueError, ConfError) as error:
        log.warning("the CPU models in %s cannot be used: %s", directory, error)
        return None


def read_map(family: str, read_file: Callable[[str], bytes]) -> Models:
    """Read the models of a family of architectures.

    Args:
        family: its name in the index.
        read_file: reads a file of the map.

    Raises:
        OSError: a file is missing.
        ValueError, ConfError: one has an unexpected form.
    """
    order: list[str] = []
    not_migratable: set[str] = set()
    bits: dict[str, CpuidBit] = {}
    owners: dict[str, str] = {}
    models: dict[str, Model] = {}
    for entry in _entries(family, read_file):
        name = entry.get("name", "")
        if entry.tag == "feature":
            order.append(name)
            if entry.get("migratable") == "no":
                not_migratable.add(name)
            bit, msr = entry.find("cpuid"), entry.find("msr")
            if bit is not None:
                bits[name] = _bit(bit)
            elif msr is not None:
                owner = MSR_OWNERS.get(int(msr.get("index", ""), 0))
                if owner is not None:
                    owners[name] = owner
        elif entry.tag == "model":
            models[name] = _model(entry, models)
    if not models:
        raise ValueError(f"there is no model of {family}")
    return Models(models.values(), order, frozenset(not_migratable), bits, owners)


def _entries(family: str, read_file: Callable[[str], bytes]) -> Iterator[etree._Element]:
    """Yield the definitions of a family in the order of the index."""
    index = parse_tree(read_file(INDEX))
    for arch in index.iterfind("arch"):
        if arch.get("name") != family:
            continue
        for entry in arch.iterchildren("*"):
            if entry.tag != "include":
                yield entry
                continue
            name = entry.get("filename", "")
            if "/" in name:
                raise ValueError(f"{name} is outside of the map")
            yield from parse_tree(read_file(name)).iterchildren("*")


def _model(entry: etree._Element, earlier: dict[str, Model]) -> Model:
    """Read a <model>, which may begin as an earlier one."""
    base = None
    for ancestor in entry.iterfind("model"):
        base = earlier[ancestor.get("name", "")]
    features = set(base.features) if base else set()
    removed = set(base.removed) if base else set()
    for feature in entry.iterfind("feature"):
        name = feature.get("name", "")
        if feature.get("removed") == "yes":
            features.discard(name)
            removed.add(name)
        else:
            features.add(name)
            removed.discard(name)
    vendor = entry.find("vendor")
    decode = entry.find("decode")
    signatures = tuple(_signature(each) for each in entry.iterfind("signature"))
    return Model(
        name=entry.get("name", ""),
        vendor=vendor.get("name", "") if vendor is not None else base.vendor if base else "",
        features=frozenset(features),
        signatures=signatures or (base.signatures if base else ()),
        describes_hosts=decode is None or decode.get("host") == "on",
        describes_guests=decode is None or decode.get("guest") == "on",
        removed=tuple(sorted(removed)),
    )


def _bit(entry: etree._Element) -> CpuidBit:
    """Read a <cpuid>, which has one register that is not 0."""
    leaf, subleaf = int(entry.get("eax_in", ""), 0), int(entry.get("ecx_in") or "0", 0)
    masks = {name: int(entry.get(name) or "0", 0) for name in ("eax", "ebx", "ecx", "edx")}
    register = next((name for name, mask in masks.items() if mask), "eax")
    return CpuidBit(leaf, subleaf, register, masks[register])


def _signature(entry: etree._Element) -> Signature:
    """Read a <signature>; its steppings are numbers and ranges."""
    steppings: set[int] = set()
    for part in (entry.get("stepping") or "").split(","):
        first, _, last = part.partition("-")
        if first:
            steppings.update(range(int(first), int(last or first) + 1))
    family, model = int(entry.get("family", "")), int(entry.get("model", ""))
    return Signature(family, model, frozenset(steppings))
