"""vhost-user-gpu: the process that would draw for a <video> of <driver name='vhostuser'>.

Owns: refusing it. May touch: vhost-user descriptors, for reading.
Source: libvirt 9.0, qemu_vhost_user.c; QEMU's docs/interop/vhost-user.json.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from conf.domain import Domain
from conf.errors import ConfError
from supervisor.runtime.qemu_descriptors import read_descriptors
from supervisor.workers.qemu.external.virtiofsd import BackendDescriptor


def refuse(domain: Domain, directories: Iterable[Path]) -> None:
    """Refuse a <video> that takes vhost-user-gpu, which is not started here.

    Args:
        domain: the domain.
        directories: of vhost-user descriptors.

    Raises:
        ConfError: "operation_failed" as libvirt's where the host has no such program;
            "config_unsupported" where it has one.
    """
    drivers = (video.driver for video in domain.devices.videos)
    if not any(driver is not None and driver.name == "vhostuser" for driver in drivers):
        return
    found = read_descriptors(directories, BackendDescriptor)
    if not any(descriptor.type == "gpu" for descriptor in found):
        raise ConfError("operation_failed", "Unable to find a satisfying vhost-user-gpu")
    detail = "<driver name='vhostuser'> of <video> is not supported: remove it to start the domain"
    raise ConfError("config_unsupported", detail)
