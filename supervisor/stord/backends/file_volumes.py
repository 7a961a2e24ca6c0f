"""Creates and resizes volumes that are files: raw ones in the pool's process, others by qemu-img.

Owns: the choice between the two, and what qemu-img gets of a volume's XML.
May touch: temporary files in the pool's directory, through `BackendContext.process` and qemu-img.
"""

from __future__ import annotations

import asyncio
import dataclasses
import posixpath
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from conf.storage import Volume
from conf.storage.credentials import VolumeEncryption
from conf.storage.permissions import Permissions
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.stord import commands, qemu_img
from supervisor.stord.backends.base import BackendContext, CloneSource, CreateOptions
from supervisor.stord.pool_process.messages import (
    CheckChain,
    CopyRaw,
    CreateRaw,
    FilePermissions,
)
from supervisor.stord.program_fds import ProgramFds
from supervisor.stord.secrets import SecretName, encryption_secret, volume_secret
from supervisor.stord.volume_info import Backing, VolumeInfo

#: Formats that qemu-img creates; the others, apart from raw, are only detected.
QEMU_IMG_FORMATS: Final = ("qcow", "qcow2", "qed", "vmdk", "vpc", "vdi")
RAW_FORMATS: Final = ("raw", "iso")
#: QEMU's error when getrusage() shows no CPU time for a PBKDF2 benchmark, as on a busy host.
PBKDF_TIMING_FAILED: Final = "Unable to get accurate CPU usage"
PBKDF_ATTEMPTS: Final = 30  # half of them fail where the kernel counts CPU time by its tick
PBKDF_PAUSE_S: Final = 0.02  # longer than a tick
#: Bytes that a clone takes no noticeable time for: done in the pool's shared process.
QUICK_COPY: Final = 4 * 1024 * 1024
#: Bytes that fallocate takes no noticeable time for: done in the pool's shared process, a
#: dedicated one would take longer to fork.
QUICK_ALLOCATION: Final = 64 * 1024 * 1024


async def write_file(
    context: BackendContext, definition: Volume, options: CreateOptions, temporary: str
) -> None:
    """Write a new volume under a temporary name.

    Raises:
        VirError: NO_SUPPORT for a reflink of another format than raw; CONFIG_UNSUPPORTED for
            metadata that another format than qcow2 has not; INTERNAL_ERROR with qemu-img's message,
            and for a format that is only detected.
    """
    volume_format = definition.target.format or "raw"
    if options.preallocate and volume_format != "qcow2":
        detail = "metadata preallocation only supported with qcow2"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
    encrypted = definition.target.encryption is not None
    # libvirt leaves a new iso to qemu-img, with the sizes and options that this allows.
    formats = ("raw",) if options.clone_source is None else RAW_FORMATS
    if volume_format in formats and not encrypted and is_raw_copy(options.clone_source):
        await _write_raw(context, definition, options, temporary)
        return
    if volume_format not in (*QEMU_IMG_FORMATS, *RAW_FORMATS):
        detail = f"volumes of format '{volume_format}' can be used but not created; use qcow2"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
    if options.reflink:
        detail = "only raw volumes can be cloned with the reflink flag"
        raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
    await _write_image(context, definition, options, temporary)


def is_plain(definition: Volume, options: CreateOptions) -> bool:
    """Return whether a volume is a new raw file that takes no noticeable time to write."""
    return (
        (definition.target.format or "raw") == "raw"
        and definition.target.encryption is None
        and options.clone_source is None
        and not options.preallocate
        and raw_file(definition, "", "").allocation <= QUICK_ALLOCATION
    )


def is_plain_clone(
    definition: Volume, source: VolumeInfo, options: CreateOptions, directory: str
) -> bool:
    """Return whether a volume is a copy of another raw file of its pool, byte for byte.

    Another pool's storage may hang, and with it the process that reads it.
    """
    return (
        (definition.target.format or "raw") in RAW_FORMATS
        and definition.target.encryption is None
        and is_raw_copy(CloneSource(source))
        and not options.preallocate
        and posixpath.dirname(source.path) == directory
    )


def raw_copy(
    definition: Volume, source: VolumeInfo, options: CreateOptions, target: str
) -> CopyRaw:
    """Describe the copy of a raw volume, under its temporary name."""
    return CopyRaw(
        source=source.path,
        target=target,
        size=definition.capacity or 0,
        is_new=True,
        reflink=options.reflink,
    )


def raw_file(definition: Volume, directory: str, temporary: str) -> CreateRaw:
    """Describe the file of a new raw volume, under its temporary name."""
    capacity = definition.capacity or 0
    return CreateRaw(
        directory=directory,
        temporary_name=temporary,
        capacity=capacity,
        allocation=capacity if definition.allocation is None else definition.allocation,
        nocow=definition.target.nocow,
    )


async def _write_raw(
    context: BackendContext, definition: Volume, options: CreateOptions, temporary: str
) -> None:
    if options.clone_source is not None:
        target = f"{context.pool.path}/{temporary}"
        copy = raw_copy(definition, options.clone_source.volume, options, target)
        await context.process.call_dedicated(copy)
        return
    await context.process.call_dedicated(raw_file(definition, context.pool.path, temporary))


async def _write_image(
    context: BackendContext, definition: Volume, options: CreateOptions, temporary: str
) -> None:
    async with ProgramFds(context.process) as fds:
        secret = None
        if definition.target.encryption is not None:
            name = encryption_secret(definition.target.encryption)
            secret = fds.add_secret("target", await context.find_secret(name))
        target = image_spec(definition, options, context.pool.path, temporary, secret)
        if target.backing:
            check = CheckChain(path=target.backing, format=target.backing_format)
            await context.process.call(check)
        if options.clone_source is None:
            argv = qemu_img.plan_create(target)
        else:
            source = await _open_clone_source(context, options.clone_source, fds)
            argv = qemu_img.plan_convert(source, target)
        await run_qemu_img(argv, fds)
        if needs_resize(definition, options.clone_source):  # convert has no target size
            grown = qemu_img.ImageSpec(
                target.path, target.format, definition.capacity, secret=secret
            )
            await run_qemu_img(qemu_img.plan_resize(grown, shrink=False), fds)


async def _open_clone_source(
    context: BackendContext, source: CloneSource, fds: ProgramFds
) -> qemu_img.ImageSpec:
    volume, secret = source.volume, None
    if volume.encryption:
        if source.secret is None:
            detail = f"volume '{volume.name}' is encrypted: name its secret in <encryption>"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        secret = fds.add_secret("source", await context.find_secret(source.secret))
    return dataclasses.replace(await fds.open_volume(volume), secret=secret)


async def resize_image(
    context: BackendContext, volume: VolumeInfo, capacity: int, *, shrink: bool
) -> None:
    """Resize an image by qemu-img.

    Raises:
        VirError: INTERNAL_ERROR with qemu-img's message.
    """
    async with ProgramFds(context.process) as fds:
        secret = None
        if volume.encryption:
            secret = fds.add_secret("volume", await context.find_secret(volume_secret(volume)))
        image = await fds.open_volume(volume, writable=True)
        image = dataclasses.replace(image, capacity=capacity, secret=secret)
        await run_qemu_img(qemu_img.plan_resize(image, shrink=shrink), fds)


async def run_qemu_img(argv: list[str], fds: ProgramFds) -> None:
    """Run qemu-img; retry when only its PBKDF2 benchmark failed.

    QEMU derives LUKS' iteration count from the CPU time of a benchmark, and gives up when that has
    not changed, after some milliseconds or when the process was not scheduled meanwhile.

    Raises:
        VirError: INTERNAL_ERROR with its message; as `commands.run`.
    """
    for _ in range(PBKDF_ATTEMPTS):
        completed = await commands.run(
            argv, deadline_s=commands.LONG_S, descriptors=list(fds.names)
        )
        if completed.code == 0:
            return
        if PBKDF_TIMING_FAILED not in completed.errors:
            break
        await asyncio.sleep(PBKDF_PAUSE_S)
    raise commands.failed(argv, completed, fds.replace_paths)


def is_raw_copy(source: CloneSource | None) -> bool:
    """Return whether a raw clone has the same bytes as its source; True without a source."""
    if source is None:
        return True
    volume = source.volume
    return volume.format in (*RAW_FORMATS, "") and not volume.encryption and volume.type != "dir"


def needs_resize(definition: Volume, source: CloneSource | None) -> bool:
    """Return whether a clone is larger than its source."""
    return source is not None and (definition.capacity or 0) > source.volume.capacity


def file_permissions(element: Permissions | None, mode: int = -1) -> FilePermissions:
    """Return the mode and owner of a <permissions> element; `mode` where it has none."""
    if element is None:
        return FilePermissions(mode=mode)
    return FilePermissions(
        mode=mode if element.mode is None else element.mode,
        owner=-1 if element.owner is None else element.owner,
        group=-1 if element.group is None else element.group,
    )


def image_spec(
    definition: Volume,
    options: CreateOptions,
    directory: str,
    name: str,
    secret: qemu_img.SecretFd | None,
) -> qemu_img.ImageSpec:
    """Map a volume's XML to the image that qemu-img creates as `directory/name`. Pure."""
    target, backing = definition.target, definition.backing_store
    return qemu_img.ImageSpec(
        path=f"{directory}/{name}",
        format=target.format or "raw",
        # libvirt takes a capacity of 0 over a backing file as "not given", and gives qemu-img
        # the others in KiB.
        capacity=round_up(definition.capacity or 0) or (None if backing is not None else 0),
        compat=target.compat or "",
        features=tuple(features(definition)),
        cluster_size=target.cluster_size or 0,
        # Absolute: a header's relative path would be resolved from wherever the image is opened.
        backing=posixpath.join(directory, backing.path) if backing is not None else "",
        backing_format=(backing.format or "raw") if backing is not None else "",
        preallocation="metadata" if options.preallocate else "",
        nocow=target.nocow,
        secret=secret,
        cipher=cipher_of(target.encryption),
    )


def round_up(capacity: int) -> int:
    """Round up to whole KiB."""
    return -(-capacity // 1024) * 1024


def features(definition: Volume) -> Iterator[str]:
    """Yield the qcow2 features that a volume's XML names."""
    if definition.target.lazy_refcounts:
        yield "lazy_refcounts"
    if definition.target.extended_l2:
        yield "extended_l2"


def cipher_of(encryption: VolumeEncryption | None) -> qemu_img.LuksOptions:
    """Map <cipher> and <ivgen> to qemu-img's options."""
    if encryption is None or encryption.cipher is None:
        return qemu_img.LuksOptions()
    cipher, ivgen = encryption.cipher, encryption.ivgen
    return qemu_img.LuksOptions(
        algorithm=f"{cipher.name}-{cipher.size}" if cipher.size else cipher.name or "",
        mode=cipher.mode or "",
        hash=cipher.hash or "",
        ivgen=(ivgen.name or "") if ivgen is not None else "",
        ivgen_hash=(ivgen.hash or "") if ivgen is not None else "",
    )


def with_definition(info: VolumeInfo, definition: Volume) -> VolumeInfo:
    """Add what a new volume's XML says and a stat of its file does not show."""
    backing = definition.backing_store
    permissions = backing.permissions if backing is not None else None
    owner = file_permissions(permissions)
    encryption = definition.target.encryption
    secret = encryption_secret(encryption) if encryption is not None else SecretName("volume")
    return replace(
        info,
        secret_uuid=secret.uuid,
        secret_usage=secret.usage,
        format=definition.target.format or info.format,
        compat=definition.target.compat or "",
        features=tuple(features(definition)),
        cluster_size=definition.target.cluster_size or 0,
        backing=Backing(
            path=backing.path,
            format=backing.format or "raw",
            mode=owner.mode,
            owner=owner.owner,
            group=owner.group,
            label=(permissions.label or "") if permissions is not None else "",
        )
        if backing is not None
        else None,
    )
