"""<devices>: everything a guest is built of, in libvirt's order.

Owns: the lists.
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.audio import Audio
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.controller import Controller, check_usb_controllers
from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.graphics import Graphics
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.hub import Hub
from conf.domain.devices.input import Input
from conf.domain.devices.interface import Interface
from conf.domain.devices.iommu import Iommu
from conf.domain.devices.lease import Lease
from conf.domain.devices.memballoon import Memballoon
from conf.domain.devices.memory import MemoryDevice
from conf.domain.devices.nvram import NvramDevice
from conf.domain.devices.panic import Panic
from conf.domain.devices.redirdev import Redirdev, Redirfilter
from conf.domain.devices.rng import Rng
from conf.domain.devices.shmem import Shmem
from conf.domain.devices.smartcard import Smartcard
from conf.domain.devices.sound import Sound
from conf.domain.devices.tpm import Tpm
from conf.domain.devices.video import Video
from conf.domain.devices.vsock import Vsock
from conf.domain.devices.watchdog import Watchdog
from conf.mapper import Refusal, child, children, element, text


@element("devices")
@dataclass(slots=True, kw_only=True)
class Devices:
    """<devices>."""

    emulator: str | None = text("emulator", omit="")
    disks: list[Disk] = children("disk", Disk)
    controllers: list[Controller] = children("controller", Controller, check=check_usb_controllers)
    leases: list[Lease] = children("lease", Lease)
    filesystems: list[Filesystem] = children("filesystem", Filesystem)
    interfaces: list[Interface] = children("interface", Interface)
    smartcards: list[Smartcard] = children("smartcard", Smartcard)
    serials: list[CharDevice] = children("serial", CharDevice)
    parallels: list[CharDevice] = children("parallel", CharDevice)
    consoles: list[CharDevice] = children("console", CharDevice)
    channels: list[CharDevice] = children("channel", CharDevice)
    inputs: list[Input] = children("input", Input)
    tpms: list[Tpm] = children("tpm", Tpm)
    graphics: list[Graphics] = children("graphics", Graphics)
    sounds: list[Sound] = children("sound", Sound)
    audios: list[Audio] = children("audio", Audio)
    videos: list[Video] = children("video", Video)
    hostdevs: list[Hostdev] = children("hostdev", Hostdev)
    redirdevs: list[Redirdev] = children("redirdev", Redirdev)
    redirfilter: Redirfilter | None = child(
        "redirfilter",
        Redirfilter,
        single=Refusal("internal", "only one set of redirection filter rule is supported"),
    )
    hubs: list[Hub] = children("hub", Hub)
    watchdogs: list[Watchdog] = children("watchdog", Watchdog)
    memballoon: Memballoon | None = child(
        "memballoon",
        Memballoon,
        single=Refusal("internal", "only a single memory balloon device is supported"),
    )
    rngs: list[Rng] = children("rng", Rng)
    nvram: NvramDevice | None = child(
        "nvram", NvramDevice, single="only a single nvram device is supported"
    )
    panics: list[Panic] = children("panic", Panic)
    shmems: list[Shmem] = children("shmem", Shmem)
    memories: list[MemoryDevice] = children("memory", MemoryDevice)
    iommu: Iommu | None = child("iommu", Iommu, single="only a single IOMMU device is supported")
    vsock: Vsock | None = child("vsock", Vsock, single="only a single vsock device is supported")
