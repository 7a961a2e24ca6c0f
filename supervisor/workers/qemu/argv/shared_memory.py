"""Memory that several guests share: ivshmem.

Owns: -device and what is behind it, of both models that QEMU has.
May touch: values only; the emulator itself makes the shared memory, a server the doorbells.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.shmem import Shmem
from conf.errors import ConfError
from conf.types.size import KIB
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device, obj
from supervisor.workers.qemu.argv.syntax import options_of

DEFAULT_SIZE_KIB: Final = 4096
FOLDER: Final = "/dev/shm"  # where every guest that names it finds the same memory
SERVERS: Final = "/var/lib/libvirt/shmem-{}-sock"
ROLES: Final = {"master": True, "peer": False}


def shmems(context: Context) -> Options:
    """Build every <shmem>."""
    for shmem in context.domain.devices.shmems:
        yield from shmem_options(context, shmem)


def shmem_options(context: Context, shmem: Shmem) -> Options:
    """Build one shared memory device.

    Raises:
        ConfError: "config_unsupported": the emulator does not have the model; "xml_detail": the
            name would lead elsewhere.
    """
    if "/" in shmem.name or shmem.name in ("", ".", ".."):
        raise ConfError("xml_detail", f"shmem name '{shmem.name}' must not contain '/' nor be '..'")
    match shmem.model:
        case "ivshmem-plain":
            yield from _plain(context, shmem)
        case "ivshmem-doorbell":
            yield from _doorbell(context, shmem)
        case _:
            raise ConfError(
                "config_unsupported",
                f"shmem model '{shmem.model or 'ivshmem'}' of '{shmem.name}' is not supported by "
                "this QEMU; use 'ivshmem-plain' or 'ivshmem-doorbell'",
            )


def _plain(context: Context, shmem: Shmem) -> Options:
    """Build ivshmem-plain: a file that every guest of the same name opens."""
    memory = f"shmmem-{shmem.alias}"
    yield obj(
        {
            "qom-type": "memory-backend-file",
            "id": memory,
            "mem-path": f"{FOLDER}/{shmem.name}",
            "size": (shmem.size.amount if shmem.size else DEFAULT_SIZE_KIB) * KIB,
            "share": True,
        }
    )
    yield device(_front(context, shmem, "ivshmem-plain", {"memdev": memory}))


def _doorbell(context: Context, shmem: Shmem) -> Options:
    """Build ivshmem-doorbell: a server's memory, with interrupts between guests."""
    if shmem.msi is False:
        raise ConfError(
            "config_unsupported",
            f"shared memory '{shmem.name}' of model 'ivshmem-doorbell' cannot do without MSI; "
            "leave <msi enabled='no'> out",
        )
    backend = f"char{shmem.alias}"
    path = shmem.server_path or SERVERS.format(shmem.name)
    yield "-chardev", options_of(("socket",), {"id": backend, "path": path})
    back: Props = {"chardev": backend, "vectors": shmem.vectors, "ioeventfd": shmem.ioeventfd}
    yield device(_front(context, shmem, "ivshmem-doorbell", back))


def _front(context: Context, shmem: Shmem, driver: str, back: Props) -> Props:
    context.need_device(driver, f"shared memory '{shmem.name}'")
    master = ROLES[shmem.role] if shmem.role is not None else None
    props: Props = {"driver": driver, "id": shmem.alias, **back, "master": master}
    return props | placed(context, shmem.address)
