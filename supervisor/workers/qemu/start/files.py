"""Files of a domain: its directories, images, NVRAM.

Owns: which they are, and making them. May touch: those files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.disk import Disk
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.memory import MemoryDevice
from conf.domain.devices.source import SourceLabel
from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime import scsi_devices
from supervisor.runtime.emulator_user import OWN, User
from supervisor.runtime.paths import Paths
from supervisor.workers import usb_devices
from supervisor.workers.bendable_files import make_private_folder, replace_file
from supervisor.workers.file_owners import ChownedFile
from supervisor.workers.qemu.passthrough import vfio_nodes

#: Debian's OVMF: the template of empty NVRAM variables for each loader.
TEMPLATES: Final = {
    "/usr/share/OVMF/OVMF_CODE.fd": "/usr/share/OVMF/OVMF_VARS.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "/usr/share/OVMF/OVMF_VARS_4M.fd",
    "/usr/share/OVMF/OVMF_CODE.secboot.fd": "/usr/share/OVMF/OVMF_VARS.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd": "/usr/share/OVMF/OVMF_VARS_4M.fd",
    "/usr/share/OVMF/OVMF_CODE.ms.fd": "/usr/share/OVMF/OVMF_VARS.ms.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.ms.fd": "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
    "/usr/share/AAVMF/AAVMF_CODE.fd": "/usr/share/AAVMF/AAVMF_VARS.fd",
}


def domain_files(domain: Domain) -> Iterator[ChownedFile]:
    """List the files and devices that QEMU opens itself."""
    for disk in domain.devices.disks:
        yield from disk_files(disk)
    for path in (domain.os.kernel, domain.os.initrd, domain.os.dtb):
        if path:
            yield ChownedFile(path, shared=True, writable=False)
    nvram = nvram_path(domain)
    if nvram:
        yield ChownedFile(nvram)
    for hostdev in domain.devices.hostdevs:
        yield from hostdev_files(hostdev)
    for memory in domain.devices.memories:
        yield from memory_files(memory)
    for device in character_devices(domain):
        yield from character_device_files(device)


def memory_files(memory: MemoryDevice) -> Iterator[ChownedFile]:
    """List the file that is a module's memory."""
    if memory.source_path and memory.model in ("nvdimm", "virtio-pmem"):
        yield ChownedFile(memory.source_path)


def disk_files(disk: Disk) -> Iterator[ChownedFile]:
    """List the images of a disk; guests share all but a writable top image."""
    shared = disk.readonly or disk.shareable or disk.device == "cdrom"
    for depth, (source, _, _) in enumerate(disk.chain()):
        path = source.place or (source.file if source.type == "file" else source.dev)
        # An open file is its opener's.
        if path and source.fdgroup is None and source.type in ("file", "block"):
            keeps_owner = _keeps_labels(source.labels)
            yield ChownedFile(
                path,
                shared=depth > 0 or shared,
                keeps_owner=keeps_owner,
                writable=depth == 0 and not disk.readonly and disk.device != "cdrom",
            )


def character_device_files(device: CharDevice) -> Iterator[ChownedFile]:
    """List what QEMU opens of a character device: host devices, pipes, sockets it connects to.

    A client such as libguestfs listens in a directory of its own; the right to connect is a
    socket's owner's.
    """
    path = device.path
    if not path:
        return
    keeps_owner = _keeps_labels(device.first.labels)
    if device.type == "dev" or (device.type == "unix" and not device.listens):
        yield ChownedFile(path, keeps_owner=keeps_owner)
    elif device.type == "pipe":
        ends = [end for end in (f"{path}.in", f"{path}.out") if os.path.exists(end)]
        yield from (ChownedFile(end, keeps_owner=keeps_owner) for end in ends or [path])


def hostdev_files(hostdev: Hostdev) -> Iterator[ChownedFile]:
    """List the device nodes of a host device."""
    if path := usb_devices.node(hostdev) or scsi_devices.node(hostdev):
        yield ChownedFile(path)
    yield from (ChownedFile(node) for node in vfio_nodes(hostdev))


def _keeps_labels(labels: Sequence[SourceLabel]) -> bool:
    """Return whether <seclabel relabel='no'> keeps the owner."""
    return any(label.relabel is False and label.model in (None, "dac") for label in labels)


def character_devices(domain: Domain) -> Iterator[CharDevice]:
    """List serial and parallel ports, channels, and consoles of their own."""
    devices = domain.devices
    yield from (*devices.serials, *devices.parallels, *devices.channels)
    yield from (console for console in devices.consoles if console.target_type != "serial")


def make_directories(paths: Paths, config: QemuConfig, status: Status, user: User) -> None:
    """Make the domain's private directories, for QEMU's user alone.

    Raises:
        OSError: they cannot be made.
    """
    for path in _directories(paths, config, status):
        make_private_folder(path, user, 0o750)


def remove_directories(paths: Paths, config: QemuConfig, status: Status) -> None:
    """Remove the domain's private directories with all that is in them."""
    for path in _directories(paths, config, status):
        shutil.rmtree(path, ignore_errors=True)


def _directories(paths: Paths, config: QemuConfig, status: Status) -> tuple[Path, ...]:
    return (
        paths.domain_dir(status.id, status.name),
        paths.channels(status.id, status.name),
        paths.memory_dir(status.id, status.name, config.memory_backing_dir),
    )


def nvram_path(domain: Domain) -> str:
    """Return the path of the domain's NVRAM file; "" if it has none."""
    loader, nvram = domain.os.loader, domain.os.nvram
    if loader is None or loader.type != "pflash" or loader.stateless or nvram is None:
        return ""
    if nvram.source is not None:
        return (nvram.source.file or "") if nvram.source.type == "file" else ""
    return (nvram.path or "").strip()


def create_nvram(domain: Domain, paths: Paths, config: QemuConfig) -> None:
    """Make the NVRAM file from the loader's template, if it is missing.

    Raises:
        VirError: OPERATION_FAILED: no template is known; SYSTEM_ERROR: it cannot be copied.
    """
    name = nvram_path(domain)
    if not name or Path(name).exists():
        return
    template = _template(domain, config)
    if not template:
        loader = domain.os.loader.path if domain.os.loader else ""
        detail = f"unable to find any master var store for loader: {loader}; give <nvram template=>"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
    target = Path(name)
    try:
        if target.parent == paths.nvram("x").parent:
            target.parent.mkdir(parents=True, exist_ok=True)
        # It has its name when complete: a start that dies here leaves no half of the variables.
        replace_file(target, Path(template).read_bytes(), OWN)
    except OSError as error:
        detail = f"cannot copy NVRAM template '{template}' to '{name}': {error}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error


def _template(domain: Domain, config: QemuConfig) -> str:
    if domain.os.nvram is not None and domain.os.nvram.template:
        return domain.os.nvram.template
    loader = (domain.os.loader.path if domain.os.loader else None) or ""
    configured = dict(pair.split(":", 1) for pair in config.nvram if ":" in pair)
    return (TEMPLATES | configured).get(loader.strip(), "")
