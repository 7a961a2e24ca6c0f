"""Small devices that help a guest along: balloon, random numbers, vsock, IOMMU, watchdog, panic.

Owns: their options, and those of generation id and core info.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import IsaAddress
from conf.domain.devices.rng import Rng
from conf.domain.devices.watchdog import Watchdog
from conf.errors import ConfError
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.chardev import chardev
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device, obj
from supervisor.workers.qemu.argv.virtio import pci_driver, virtio_props

WATCHDOG_ACTIONS: Final = {"dump": "pause"}  # the worker dumps, then resets or resumes


def balloon(context: Context) -> Options:
    """Build the memory balloon."""
    memballoon = context.domain.devices.memballoon
    if memballoon is None or memballoon.model == "none":
        return
    yield device(
        {
            "driver": pci_driver("virtio-balloon-pci", memballoon.model),
            **virtio_props(memballoon.driver),
            "id": memballoon.alias,
            "deflate-on-oom": memballoon.autodeflate,
            "free-page-reporting": memballoon.free_page_reporting,
            **placed(context, memballoon.address),
        }
    )


def rngs(context: Context) -> Options:
    """Build the random number generators."""
    for rng in context.domain.devices.rngs:
        yield from rng_options(context, rng)


def rng_options(context: Context, rng: Rng) -> Options:
    """Build one random number generator and its backend."""
    backend = f"obj{rng.alias}"
    yield from _rng_backend(context, rng, backend)
    rate = rng.rate
    yield device(
        {
            "driver": pci_driver("virtio-rng-pci", rng.model),
            **virtio_props(rng.driver),
            "rng": backend,
            "id": rng.alias,
            "max-bytes": rate.bytes if rate else None,
            "period": (rate.period or 1000) if rate else None,
            **placed(context, rng.address),
        }
    )


def _rng_backend(context: Context, rng: Rng, name: str) -> Options:
    match rng.backend.model:
        case "random":
            yield obj({"qom-type": "rng-random", "id": name, "filename": rng.backend.path})
        case "builtin":
            yield obj({"qom-type": "rng-builtin", "id": name})
        case "egd":
            alias = rng.alias or ""
            yield from chardev(context, alias, rng.backend.source)
            yield obj({"qom-type": "rng-egd", "id": name, "chardev": f"char{alias}"})


def vsock(context: Context) -> Options:
    """Build the vsock device with its guest CID."""
    item = context.domain.devices.vsock
    if item is None:
        return
    fd = context.inputs.vsock_fd
    if fd is None:
        raise ConfError(
            "config_unsupported",
            "vsock needs /dev/vhost-vsock, which this host does not offer; load vhost_vsock",
        )
    yield device(
        {
            "driver": pci_driver("vhost-vsock-pci", item.model),
            **virtio_props(item.driver),
            "id": item.alias,
            "guest-cid": item.cid_address or 0,
            "vhostfd": str(fd),
            **placed(context, item.address),
        }
    )


def iommu(context: Context) -> Options:
    """Build the guest's IOMMU; it comes before every device."""
    item = context.domain.devices.iommu
    if item is None:
        return
    if item.model == "intel":
        driver = item.driver
        yield device(
            {
                "driver": "intel-iommu",
                "id": item.alias,
                "intremap": _on_off_auto(driver.intremap if driver else None),
                "caching-mode": driver.caching_mode if driver else None,
                "eim": _on_off_auto(driver.eim if driver else None),
                "device-iotlb": driver.iotlb if driver else None,
                "aw-bits": driver.aw_bits if driver else None,
            }
        )
    elif item.model == "virtio":
        yield device({"driver": "virtio-iommu", "id": item.alias, **placed(context, item.address)})
    else:
        raise ConfError(
            "config_unsupported", f"IOMMU device: '{item.model}' is not supported; use 'intel'"
        )


def _on_off_auto(value: bool | None) -> str | None:  # noqa: FBT001
    return None if value is None else ("on" if value else "off")


def watchdogs(context: Context) -> Options:
    """Build the watchdogs and the -action of their expiry."""
    items = context.domain.devices.watchdogs
    for item in items:
        if item.model != "itco":  # a part of the Q35 chipset
            yield from watchdog_options(context, item)
    if items:
        yield "-watchdog-action", watchdog_action(items[0])


def watchdog_options(context: Context, watchdog: Watchdog) -> Options:
    """Build one watchdog, without its action."""
    props: Props = {"driver": watchdog.model, "id": watchdog.alias}
    yield device(props | placed(context, watchdog.address))


def watchdog_action(watchdog: Watchdog) -> str:
    """Return QEMU's name of what happens when a watchdog expires."""
    action = watchdog.action or "reset"
    return WATCHDOG_ACTIONS.get(action, action)


def panics(context: Context) -> Options:
    """Build the panic devices, by which a guest reports its crash."""
    for panic in context.domain.devices.panics:
        if panic.model in (None, "isa"):
            at = panic.address
            port = at.iobase if isinstance(at, IsaAddress) else None
            yield device({"driver": "pvpanic", "ioport": port})
        elif panic.model != "hyperv":
            raise ConfError(
                "config_unsupported",
                f"the QEMU binary does not support the panic device model '{panic.model}'; "
                "use 'isa' or 'hyperv'",
            )


def generation_id(context: Context) -> Options:
    """Build the VM generation id, which tells a guest that it is a copy."""
    if context.domain.genid is not None:
        yield device({"driver": "vmgenid", "guid": str(context.domain.genid), "id": "vmgenid0"})


def core_info(context: Context) -> Options:
    """Build vmcoreinfo: the guest kernel publishes there how to dump its memory."""
    features = context.domain.features
    if features is not None and features.vmcoreinfo:
        yield device({"driver": "vmcoreinfo"})
