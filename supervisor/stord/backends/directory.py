"""Pools whose volumes are files of a folder: dir by itself, fs and netfs below a mount.

Owns: how a file becomes a volume: made under a temporary name, given its own when it is whole.
May touch: the pool's folder, by `BackendContext.process`; qemu-img.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import posixpath
from collections.abc import Iterator

from msgspec.structs import replace

from conf.storage import Volume
from conf.storage.credentials import VolumeEncryption
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.shield import run_to_completion
from supervisor.stord import commands, qemu_img
from supervisor.stord.backends.base import (
    BackendContext,
    CloneSource,
    CreateOptions,
    Overwrite,
    ResizeOptions,
    SecretName,
)
from supervisor.stord.pool_process.messages import (
    QUICK_S,
    CheckChain,
    CheckDirectory,
    CommitFile,
    CopyRaw,
    CreateDirectoryVolume,
    CreateRaw,
    FilePermissions,
    GetSpace,
    MakeDirectory,
    Remove,
    RemoveDirectory,
    RemoveLeftovers,
    Resize,
    Scan,
    Stat,
    Wipe,
)
from supervisor.stord.pool_process.temporary_names import is_temporary, temporary_name
from supervisor.stord.program_fds import ProgramFds
from supervisor.stord.volume_info import Backing, PoolInfo, VolumeInfo

log = logging.getLogger(__name__)

#: Formats of files that qemu-img makes; the others, raw apart, are only recognized.
QEMU_IMG_FORMATS: tuple[str, ...] = ("qcow", "qcow2", "qed", "vmdk", "vpc", "vdi")
PBKDF_TIMING_FAILED: str = "Unable to get accurate CPU usage"
PBKDF_ATTEMPTS: int = 5
QUICK_ALLOCATION: int = 64 * 1024 * 1024  # bytes that a file system gives within a moment
RAW_FORMATS: tuple[str, ...] = ("raw", "iso")


class DirectoryBackend:
    """A pool of type dir."""

    copies_data = True
    is_slow_to_create = True

    def __init__(self, context: BackendContext) -> None:
        """Have this folder."""
        self.context = context
        self.path = context.pool.path

    async def check(self) -> bool:
        """Whether the folder is there.

        Raises:
            VirError: OPERATION_TIMEOUT: nobody knows, its storage hangs.
        """
        try:
            await self.context.process.call(CheckDirectory(path=self.path))
        except VirError as error:
            if error.code == ErrorCode.OPERATION_TIMEOUT:
                raise
            return False
        await self._remove_leftovers()
        return True

    async def start(self) -> None:
        """See that the folder is there."""
        await self.context.process.call(CheckDirectory(path=self.path))
        await self._remove_leftovers()

    async def stop(self) -> None:
        """Leave the folder as it is."""

    async def refresh(self) -> PoolInfo:
        """Look at every file."""
        return await self.context.process.call(Scan(directory=self.path))

    async def read_space(self) -> PoolInfo:
        """Measure the file system."""
        return await self.context.process.call(GetSpace(directory=self.path))

    async def build(self, overwrite: Overwrite) -> None:
        """Make the folder.

        Raises:
            VirError: OPERATION_INVALID: a folder has nothing that could be overwritten.
        """
        if overwrite is not Overwrite.UNSPECIFIED:
            detail = f"a pool of type '{self.context.pool.type}' knows no overwrite flags"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.STORAGE)
        await self.make_directory()

    async def make_directory(self) -> None:
        """Make the folder with the permissions of the definition."""
        wanted = file_permissions(self.context.pool.target.permissions)
        await self.context.process.call(MakeDirectory(path=self.path, permissions=wanted))

    async def delete(self) -> None:
        """Remove the folder, which must be empty."""
        await self.context.process.call(RemoveDirectory(path=self.path))

    # Volumes.

    async def refresh_volume(self, volume: VolumeInfo) -> VolumeInfo:
        """Look at one file anew; what its document said when it was made stays said."""
        found = await self.context.process.call(Stat(directory=self.path, name=volume.name))
        return replace(
            found,
            format=volume.format,
            compat=volume.compat,
            features=volume.features,
            cluster_size=volume.cluster_size,
            backing=volume.backing,
            encryption=volume.encryption,
            secret_uuid=volume.secret_uuid,
            secret_usage=volume.secret_usage,
        )

    async def create_volume(self, definition: Volume, options: CreateOptions) -> VolumeInfo:
        """Make a file, or a folder.

        Raises:
            VirError: INVALID_ARG for a name that only files have that are being made.
        """
        if is_temporary(definition.name):
            detail = f"'{definition.name}' cannot be a volume's name: stord's own files begin so"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        if definition.target.format == "dir":
            await self._create_directory(definition, options)
        else:
            await self._create_file(definition, options)
        found = await self.context.process.call(Stat(directory=self.path, name=definition.name))
        return with_definition(found, definition)

    async def delete_volume(self, volume: VolumeInfo, *, zeroed: bool) -> None:
        """Remove a file or an empty folder."""
        if zeroed and volume.type == "file":
            await self.context.process.call_dedicated(Wipe(path=volume.path))
        await self.context.process.call(Remove(directory=self.path, name=volume.name))

    async def resize_volume(
        self, volume: VolumeInfo, capacity: int, options: ResizeOptions
    ) -> None:
        """Give a file another size, by its format."""
        if volume.format in RAW_FORMATS and not volume.encryption:
            order = Resize(path=volume.path, capacity=capacity, allocate=options.allocate)
            await self.context.process.call_dedicated(order)
            return
        if options.allocate:
            detail = "preallocate is only supported for raw volumes without encryption"
            raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        async with ProgramFds(self.context.process) as inherited:
            key = None
            if volume.encryption:
                key = inherited.add_secret(
                    "volume", await self.context.find_secret(passphrase_of(volume))
                )
            image = await inherited.open_volume(volume, writable=True)
            image = dataclasses.replace(image, capacity=capacity, secret=key)
            await run_qemu_img(qemu_img.plan_resize(image, shrink=options.shrink), inherited)

    async def _create_directory(self, definition: Volume, options: CreateOptions) -> None:
        if options.clone_source is not None:
            detail = (
                f"cannot copy '{options.clone_source.volume.name}' to a volume that is a folder"
            )
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        mode = file_permissions(definition.target.permissions, mode=0o600)  # libvirt's
        order = CreateDirectoryVolume(directory=self.path, name=definition.name, permissions=mode)
        await self.context.process.call(order)

    async def _create_file(self, definition: Volume, options: CreateOptions) -> None:
        temporary = temporary_name(self.context.host_tag)
        try:
            await self._write(definition, options, temporary)
            mode = file_permissions(definition.target.permissions, mode=0o600)
            order = CommitFile(
                directory=self.path,
                temporary_name=temporary,
                name=definition.name,
                permissions=mode,
            )
            await run_to_completion(self.context.process.call(order))
        except BaseException:
            with contextlib.suppress(VirError):
                await run_to_completion(
                    self.context.process.call(Remove(directory=self.path, name=temporary))
                )
            raise

    async def _write(self, definition: Volume, options: CreateOptions, temporary: str) -> None:
        """Write a new volume's contents under a temporary name."""
        form = definition.target.format or "raw"
        encrypted = definition.target.encryption is not None
        if form in RAW_FORMATS and not encrypted and is_raw_copy(options.clone_source):
            await self._write_raw(definition, options, temporary)
            return
        if form not in (*QEMU_IMG_FORMATS, *RAW_FORMATS):
            detail = f"volumes of format '{form}' are recognized but cannot be made; take qcow2"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        if options.reflink:
            detail = "only raw volumes can be copied by sharing their blocks (reflink)"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        await self._write_image(definition, options, temporary)

    async def _write_raw(self, definition: Volume, options: CreateOptions, temporary: str) -> None:
        capacity = definition.capacity or 0
        if options.clone_source is None:
            order = CreateRaw(
                directory=self.path,
                temporary_name=temporary,
                capacity=capacity,
                allocation=capacity if definition.allocation is None else definition.allocation,
                nocow=definition.target.nocow,
            )
            if order.allocation > QUICK_ALLOCATION:
                await self.context.process.call_dedicated(order)
            else:
                await self.context.process.call(order, deadline_s=QUICK_S)
            return
        target = f"{self.path}/{temporary}"
        copy = CopyRaw(
            source=options.clone_source.volume.path,
            target=target,
            size=capacity,
            is_new=True,
            reflink=options.reflink,
        )
        await self.context.process.call_dedicated(copy)

    async def _write_image(
        self, definition: Volume, options: CreateOptions, temporary: str
    ) -> None:
        async with ProgramFds(self.context.process) as inherited:
            key = None
            if definition.target.encryption is not None:
                secret = secret_of(definition.target.encryption)
                key = inherited.add_secret("target", await self.context.find_secret(secret))
            target = image_spec(definition, options, f"{self.path}/{temporary}", self.path, key)
            if target.backing and target.backing_format != "raw":
                order = CheckChain(path=target.backing, format=target.backing_format)
                await self.context.process.call(order)
            if options.clone_source is None:
                argv = qemu_img.plan_create(target)
            else:
                source = await self._open_clone_source(options.clone_source, inherited)
                argv = qemu_img.plan_convert(source, target)
            await run_qemu_img(argv, inherited)
            if needs_resize(definition, options.clone_source):
                grown = qemu_img.ImageSpec(
                    target.path, target.format, definition.capacity, secret=key
                )
                await run_qemu_img(qemu_img.plan_resize(grown, shrink=False), inherited)

    async def _open_clone_source(
        self, source: CloneSource, inherited: ProgramFds
    ) -> qemu_img.ImageSpec:
        """The volume that is copied, open for qemu-img."""
        volume, key = source.volume, None
        if volume.encryption:
            if source.secret is None:
                detail = f"volume '{volume.name}' is encrypted: name its secret in <encryption>"
                raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
            key = inherited.add_secret("source", await self.context.find_secret(source.secret))
        return dataclasses.replace(await inherited.open_volume(volume), secret=key)

    async def _remove_leftovers(self) -> None:
        """Remove what was left half-made; nobody sees it if that cannot be done."""
        order = RemoveLeftovers(
            directory=self.path, host_tag=self.context.host_tag, pid=os.getpid()
        )
        try:
            await self.context.process.call(order)
        except VirError as error:
            log.warning("pool '%s' is not tidied up: %s", self.context.pool.name, error)


def needs_resize(definition: Volume, source: CloneSource | None) -> bool:
    """Whether a copy is to be larger than its original."""
    return source is not None and (definition.capacity or 0) > source.volume.capacity


async def run_qemu_img(argv: list[str], inherited: ProgramFds) -> None:
    """Run qemu-img; again where it only could not measure how fast this busy host is.

    LUKS' count of iterations comes from such a measurement, which QEMU gives up at once when the
    process got no time on a processor.

    Raises:
        VirError: INTERNAL_ERROR with what it said; as `commands.run`.
    """
    descriptors = list(inherited.names)
    for _ in range(PBKDF_ATTEMPTS):
        completed = await commands.run(argv, deadline_s=commands.LONG_S, descriptors=descriptors)
        if completed.code == 0:
            return
        if PBKDF_TIMING_FAILED not in completed.errors:
            break
    raise commands.failed(argv, completed, inherited.replace_paths)


def is_raw_copy(source: CloneSource | None) -> bool:
    """Whether a copy's bytes are its original's."""
    if source is None:
        return True
    volume = source.volume
    return volume.format in (*RAW_FORMATS, "") and not volume.encryption and volume.type != "dir"


def file_permissions(permissions_element: object, mode: int = -1) -> FilePermissions:
    """What a document says of a file's owner, with the usual mode where it says none."""
    values = [getattr(permissions_element, name, None) for name in ("mode", "owner", "group")]
    given = [-1 if value is None else value for value in values]
    return FilePermissions(mode=given[0] if given[0] >= 0 else mode, owner=given[1], group=given[2])


def secret_of(encryption: VolumeEncryption) -> SecretName:
    """The secret that a document names for a volume's passphrase.

    Raises:
        VirError: INVALID_ARG: it names none.
    """
    for secret in encryption.secrets:
        return SecretName("volume", uuid=secret.uuid or "", usage=secret.usage or "")
    detail = "<encryption> names no <secret>: define one and name it"
    raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)


def passphrase_of(volume: VolumeInfo) -> SecretName:
    """The secret of an encrypted volume: that of its document, or the one for its path."""
    if volume.secret_uuid:
        return SecretName("volume", uuid=volume.secret_uuid)
    return SecretName("volume", usage=volume.secret_usage or volume.path)


def image_spec(
    definition: Volume,
    options: CreateOptions,
    path: str,
    directory: str,
    key: qemu_img.SecretFd | None,
) -> qemu_img.ImageSpec:
    """The image that a document asks for. Pure."""
    target, below = definition.target, definition.backing_store
    return qemu_img.ImageSpec(
        path=path,
        format=target.format or "raw",
        capacity=definition.capacity,
        compat=target.compat or "",
        features=tuple(features(definition)),
        cluster_size=target.cluster_size or 0,
        backing=posixpath.join(directory, below.path) if below is not None else "",
        backing_format=(below.format or "raw") if below is not None else "",
        preallocation="metadata" if options.preallocate else "",
        nocow=target.nocow,
        secret=key,
        cipher=cipher_of(target.encryption),
    )


def features(definition: Volume) -> Iterator[str]:
    """The features of a qcow2 that a document asks for."""
    if definition.target.lazy_refcounts:
        yield "lazy_refcounts"
    if definition.target.extended_l2:
        yield "extended_l2"


def cipher_of(encryption: VolumeEncryption | None) -> qemu_img.Cipher:
    """How a document wants a volume to be encrypted."""
    if encryption is None or encryption.cipher is None:
        return qemu_img.Cipher()
    cipher, ivgen = encryption.cipher, encryption.ivgen
    return qemu_img.Cipher(
        algorithm=f"{cipher.name}-{cipher.size}" if cipher.size else cipher.name or "",
        mode=cipher.mode or "",
        hash=cipher.hash or "",
        ivgen=(ivgen.name or "") if ivgen is not None else "",
        ivgen_hash=(ivgen.hash or "") if ivgen is not None else "",
    )


def with_definition(info: VolumeInfo, definition: Volume) -> VolumeInfo:
    """A new volume: as it is on disk, and described as its document did."""
    below = definition.backing_store
    owned = file_permissions(below.permissions if below is not None else None)
    encryption = definition.target.encryption
    secret = secret_of(encryption) if encryption is not None else SecretName("volume")
    return replace(
        info,
        secret_uuid=secret.uuid,
        secret_usage=secret.usage,
        format=definition.target.format or info.format,
        compat=definition.target.compat or "",
        features=tuple(features(definition)),
        cluster_size=definition.target.cluster_size or 0,
        backing=Backing(
            path=below.path,
            format=below.format or "raw",
            mode=owned.mode,
            owner=max(owned.owner, 0),
            group=max(owned.group, 0),
            label=(below.permissions.label or "") if below.permissions is not None else "",
        )
        if below is not None
        else None,
    )
