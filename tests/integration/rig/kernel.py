"""The kernel that the rig boots: which, unpacked, with the modules that its first minute takes.

Owns: the unpacked copy in the cache. May touch: /boot and /lib/modules, to read.

QEMU enters an ELF kernel by its PVH note: unpacking the packed one here, once, saves the emulated
processor some six seconds at each boot.
"""

from __future__ import annotations

import lzma
import os
import re
import struct
import tempfile
from pathlib import Path
from typing import Final

CACHE: Final = Path(f"/var/tmp/virtvisor-rig-{os.getuid()}")
XZ: Final = b"\xfd7zXZ\0"
#: Offsets in a bzImage, from the kernel's boot protocol.
SETUP_SECTORS: Final = 0x1F1
MAGIC: Final = (0x202, b"HdrS")
PAYLOAD: Final = struct.Struct("<II")
PAYLOAD_AT: Final = 0x248
SECTOR: Final = 512


class RigError(Exception):
    """The rig cannot do what it is for; the message says what is missing or went wrong."""


def newest_kernel(boot: Path = Path("/boot")) -> Path:
    """Find the newest full kernel: not the cloud one, which lacks modules.

    Raises:
        RigError: none is installed; the message names the package.
    """
    found = [
        path
        for path in boot.glob("vmlinuz-*")
        if not re.search("cloud|-rt-", path.name) and modules_of(path).is_dir()
    ]
    if not found:
        raise RigError("no full kernel in /boot: apt-get install linux-image-amd64")
    return max(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


def modules_of(kernel: Path) -> Path:
    """The folder of a kernel's modules, in the system whose `/boot` has the kernel."""
    return kernel.parent.parent / "lib/modules" / kernel.name.removeprefix("vmlinuz-")


def unpacked(kernel: Path) -> Path:
    """The kernel as an ELF file, from the cache where it is there.

    Raises:
        RigError: it is not packed as Debian's are.
    """
    made = kernel.stat()
    path = CACHE / f"{kernel.name}-{made.st_size}-{int(made.st_mtime)}"
    if not path.exists():
        keep(path, unpack(kernel.read_bytes()))
    return path


def unpack(image: bytes) -> bytes:
    """Unpack a bzImage.

    Raises:
        RigError: it is none, or packed in another way than with xz.
    """
    at, magic = MAGIC
    if image[at : at + len(magic)] != magic:
        raise RigError("the kernel is no bzImage")
    offset, size = PAYLOAD.unpack_from(image, PAYLOAD_AT)
    start = ((image[SETUP_SECTORS] or 4) + 1) * SECTOR + offset
    packed = image[start : start + size]
    if not packed.startswith(XZ):
        raise RigError("the kernel is not packed with xz, as Debian's are")
    return lzma.LZMADecompressor().decompress(packed)


def modules(kernel: Path, names: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Modules and all that they need, in the order in which they load; built-in ones are left out.

    Raises:
        RigError: a module is packed in another way than with xz.
    """
    base = modules_of(kernel)
    needs: dict[str, list[str]] = {}
    for line in (base / "modules.dep").read_text().splitlines():
        file, _, before = line.partition(":")
        needs[module_name(file)] = [*reversed(before.split()), file]
    order = dict.fromkeys(file for name in names for file in needs.get(module_name(name), []))
    return [(f"{module_name(file)}.ko", module(base / file)) for file in order]


def module_name(file: str) -> str:
    """What the kernel calls the module in a file."""
    return re.sub(r"\.ko.*", "", Path(file).name).replace("-", "_")


def module(path: Path) -> bytes:
    """A module's contents.

    Raises:
        RigError: it is packed in an unknown way.
    """
    data = path.read_bytes()
    if path.suffix == ".ko":
        return data
    if path.suffix == ".xz":
        return lzma.decompress(data)
    raise RigError(f"{path} is packed in an unknown way")


def keep(path: Path, data: bytes) -> None:
    """Put a file into the cache, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.rename(file.name, path)
