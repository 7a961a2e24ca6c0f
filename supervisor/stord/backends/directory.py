"""Pools whose volumes are files of a folder: dir by itself, fs and netfs below a mount.

Owns: how a file becomes a volume: made under a temporary name, given its own when it is whole.
May touch: the pool's folder, by `Means.work`; qemu-img.
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
    Creation,
    Means,
    Original,
    Overwrite,
    Resizing,
    SecretName,
)
from supervisor.stord.pool_process.messages import (
    QUICK_S,
    CheckChain,
    CheckFolder,
    Claim,
    CleanUp,
    CopyRaw,
    Look,
    MakeFolder,
    MakeRaw,
    MakeSubfolder,
    Permissions,
    Remove,
    RemoveFolder,
    Resize,
    Scan,
    Space,
    Wipe,
)
from supervisor.stord.pool_process.temporary_names import is_temporary, temporary_name
from supervisor.stord.program_fds import Inherited
from supervisor.stord.volume_info import Backing, PoolFacts, VolumeFacts

log = logging.getLogger(__name__)

#: Formats of files that qemu-img makes; the others, raw apart, are only recognized.
MADE: tuple[str, ...] = ("qcow", "qcow2", "qed", "vmdk", "vpc", "vdi")
NOT_MEASURED: str = "Unable to get accurate CPU usage"
MEASUREMENTS: int = 5
QUICK: int = 64 * 1024 * 1024  # bytes that a file system gives within a moment
PLAIN: tuple[str, ...] = ("raw", "iso")


class Folder:
    """A pool of type dir."""

    fills_volumes = True
    is_slow_to_create = True

    def __init__(self, means: Means) -> None:
        """Have this folder."""
        self.means = means
        self.path = means.pool.path

    async def check(self) -> bool:
        """Whether the folder is there.

        Raises:
            VirError: OPERATION_TIMEOUT: nobody knows, its storage hangs.
        """
        try:
            await self.means.work.call(CheckFolder(path=self.path))
        except VirError as error:
            if error.code == ErrorCode.OPERATION_TIMEOUT:
                raise
            return False
        await self._clean_up()
        return True

    async def start(self) -> None:
        """See that the folder is there."""
        await self.means.work.call(CheckFolder(path=self.path))
        await self._clean_up()

    async def stop(self) -> None:
        """Leave the folder as it is."""

    async def refresh(self) -> PoolFacts:
        """Look at every file."""
        return await self.means.work.call(Scan(folder=self.path))

    async def measure(self) -> PoolFacts:
        """Measure the file system."""
        return await self.means.work.call(Space(folder=self.path))

    async def build(self, overwrite: Overwrite) -> None:
        """Make the folder.

        Raises:
            VirError: OPERATION_INVALID: a folder has nothing that could be overwritten.
        """
        if overwrite is not Overwrite.UNSAID:
            detail = f"a pool of type '{self.means.pool.type}' knows no overwrite flags"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.STORAGE)
        await self.make_folder()

    async def make_folder(self) -> None:
        """Make the folder with the permissions of the definition."""
        wanted = permissions(self.means.pool.target.permissions)
        await self.means.work.call(MakeFolder(path=self.path, permissions=wanted))

    async def delete(self) -> None:
        """Remove the folder, which must be empty."""
        await self.means.work.call(RemoveFolder(path=self.path))

    # Volumes.

    async def find_volume(self, volume: VolumeFacts) -> VolumeFacts:
        """Look at one file anew; what its document said when it was made stays said."""
        found = await self.means.work.call(Look(folder=self.path, name=volume.name))
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

    async def create_volume(self, wanted: Volume, how: Creation) -> VolumeFacts:
        """Make a file, or a folder.

        Raises:
            VirError: INVALID_ARG for a name that only files have that are being made.
        """
        if is_temporary(wanted.name):
            detail = f"'{wanted.name}' cannot be a volume's name: stord's own files begin so"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
        if wanted.target.format == "dir":
            await self._make_subfolder(wanted, how)
        else:
            await self._make_file(wanted, how)
        found = await self.means.work.call(Look(folder=self.path, name=wanted.name))
        return said(found, wanted)

    async def delete_volume(self, volume: VolumeFacts, *, zeroed: bool) -> None:
        """Remove a file or an empty folder."""
        if zeroed and volume.type == "file":
            await self.means.work.call_alone(Wipe(path=volume.path))
        await self.means.work.call(Remove(folder=self.path, name=volume.name))

    async def resize_volume(self, volume: VolumeFacts, capacity: int, how: Resizing) -> None:
        """Give a file another size, by its format."""
        if volume.format in PLAIN and not volume.encryption:
            order = Resize(path=volume.path, capacity=capacity, allocate=how.allocate)
            await self.means.work.call_alone(order)
            return
        if how.allocate:
            detail = "preallocate is only supported for raw volumes without encryption"
            raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        async with Inherited(self.means.work) as inherited:
            key = None
            if volume.encryption:
                key = inherited.key("volume", await self.means.secret(passphrase_of(volume)))
            image = await inherited.volume(volume, writable=True)
            image = dataclasses.replace(image, capacity=capacity, key=key)
            await run_image_tool(qemu_img.plan_resize(image, shrink=how.shrink), inherited)

    async def _make_subfolder(self, wanted: Volume, how: Creation) -> None:
        if how.original is not None:
            detail = f"cannot copy '{how.original.volume.name}' to a volume that is a folder"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        mode = permissions(wanted.target.permissions, mode=0o600)  # libvirt's
        order = MakeSubfolder(folder=self.path, name=wanted.name, permissions=mode)
        await self.means.work.call(order)

    async def _make_file(self, wanted: Volume, how: Creation) -> None:
        temporary = temporary_name(self.means.host)
        try:
            await self._write(wanted, how, temporary)
            mode = permissions(wanted.target.permissions, mode=0o600)
            order = Claim(folder=self.path, temporary=temporary, name=wanted.name, permissions=mode)
            await run_to_completion(self.means.work.call(order))
        except BaseException:
            with contextlib.suppress(VirError):
                await run_to_completion(
                    self.means.work.call(Remove(folder=self.path, name=temporary))
                )
            raise

    async def _write(self, wanted: Volume, how: Creation, temporary: str) -> None:
        """Write a new volume's contents under a temporary name."""
        form = wanted.target.format or "raw"
        encrypted = wanted.target.encryption is not None
        if form in PLAIN and not encrypted and is_plain(how.original):
            await self._write_plain(wanted, how, temporary)
            return
        if form not in (*MADE, *PLAIN):
            detail = f"volumes of format '{form}' are recognized but cannot be made; take qcow2"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        if how.reflink:
            detail = "only raw volumes can be copied by sharing their blocks (reflink)"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        await self._write_image(wanted, how, temporary)

    async def _write_plain(self, wanted: Volume, how: Creation, temporary: str) -> None:
        capacity = wanted.capacity or 0
        if how.original is None:
            order = MakeRaw(
                folder=self.path,
                temporary=temporary,
                capacity=capacity,
                allocation=capacity if wanted.allocation is None else wanted.allocation,
                nocow=wanted.target.nocow,
            )
            if order.allocation > QUICK:
                await self.means.work.call_alone(order)
            else:
                await self.means.work.call(order, deadline_s=QUICK_S)
            return
        target = f"{self.path}/{temporary}"
        copy = CopyRaw(
            source=how.original.volume.path,
            target=target,
            size=capacity,
            is_new=True,
            reflink=how.reflink,
        )
        await self.means.work.call_alone(copy)

    async def _write_image(self, wanted: Volume, how: Creation, temporary: str) -> None:
        async with Inherited(self.means.work) as inherited:
            key = None
            if wanted.target.encryption is not None:
                secret = secret_of(wanted.target.encryption)
                key = inherited.key("target", await self.means.secret(secret))
            target = planned(wanted, how, f"{self.path}/{temporary}", self.path, key)
            if target.backing and target.backing_format != "raw":
                order = CheckChain(path=target.backing, format=target.backing_format)
                await self.means.work.call(order)
            if how.original is None:
                argv = qemu_img.plan_create(target)
            else:
                source = await self._source(how.original, inherited)
                argv = qemu_img.plan_convert(source, target)
            await run_image_tool(argv, inherited)
            if is_larger(wanted, how.original):
                grown = qemu_img.Image(target.path, target.format, wanted.capacity, key=key)
                await run_image_tool(qemu_img.plan_resize(grown, shrink=False), inherited)

    async def _source(self, original: Original, inherited: Inherited) -> qemu_img.Image:
        """The volume that is copied, open for qemu-img."""
        volume, key = original.volume, None
        if volume.encryption:
            if original.secret is None:
                detail = f"volume '{volume.name}' is encrypted: name its secret in <encryption>"
                raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
            key = inherited.key("source", await self.means.secret(original.secret))
        return dataclasses.replace(await inherited.volume(volume), key=key)

    async def _clean_up(self) -> None:
        """Remove what was left half-made; nobody sees it if that cannot be done."""
        order = CleanUp(folder=self.path, host=self.means.host, pid=os.getpid())
        try:
            await self.means.work.call(order)
        except VirError as error:
            log.warning("pool '%s' is not tidied up: %s", self.means.pool.name, error)


def is_larger(wanted: Volume, original: Original | None) -> bool:
    """Whether a copy is to be larger than its original."""
    return original is not None and (wanted.capacity or 0) > original.volume.capacity


async def run_image_tool(argv: list[str], inherited: Inherited) -> None:
    """Run qemu-img; again where it only could not measure how fast this busy host is.

    LUKS' count of iterations comes from such a measurement, which QEMU gives up at once when the
    process got no time on a processor.

    Raises:
        VirError: INTERNAL_ERROR with what it said; as `commands.run`.
    """
    descriptors = list(inherited.names)
    for _ in range(MEASUREMENTS):
        ended = await commands.run(argv, deadline_s=commands.LONG_S, descriptors=descriptors)
        if ended.code == 0:
            return
        if NOT_MEASURED not in ended.errors:
            break
    raise commands.failed(argv, ended, inherited.named)


def is_plain(original: Original | None) -> bool:
    """Whether a copy's bytes are its original's."""
    if original is None:
        return True
    volume = original.volume
    return volume.format in (*PLAIN, "") and not volume.encryption and volume.type != "dir"


def permissions(wanted: object, mode: int = -1) -> Permissions:
    """What a document says of a file's owner, with the usual mode where it says none."""
    values = [getattr(wanted, name, None) for name in ("mode", "owner", "group")]
    given = [-1 if value is None else value for value in values]
    return Permissions(mode=given[0] if given[0] >= 0 else mode, owner=given[1], group=given[2])


def secret_of(encryption: VolumeEncryption) -> SecretName:
    """The secret that a document names for a volume's passphrase.

    Raises:
        VirError: INVALID_ARG: it names none.
    """
    for secret in encryption.secrets:
        return SecretName("volume", uuid=secret.uuid or "", usage=secret.usage or "")
    detail = "<encryption> names no <secret>: define one and name it"
    raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)


def passphrase_of(volume: VolumeFacts) -> SecretName:
    """The secret of an encrypted volume: that of its document, or the one for its path."""
    if volume.secret_uuid:
        return SecretName("volume", uuid=volume.secret_uuid)
    return SecretName("volume", usage=volume.secret_usage or volume.path)


def planned(
    wanted: Volume, how: Creation, path: str, folder: str, key: qemu_img.Key | None
) -> qemu_img.Image:
    """The image that a document asks for. Pure."""
    target, below = wanted.target, wanted.backing_store
    return qemu_img.Image(
        path=path,
        format=target.format or "raw",
        capacity=wanted.capacity,
        compat=target.compat or "",
        features=tuple(features(wanted)),
        cluster_size=target.cluster_size or 0,
        backing=posixpath.join(folder, below.path) if below is not None else "",
        backing_format=(below.format or "raw") if below is not None else "",
        preallocation="metadata" if how.preallocate else "",
        nocow=target.nocow,
        key=key,
        cipher=cipher_of(target.encryption),
    )


def features(wanted: Volume) -> Iterator[str]:
    """The features of a qcow2 that a document asks for."""
    if wanted.target.lazy_refcounts:
        yield "lazy_refcounts"
    if wanted.target.extended_l2:
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


def said(found: VolumeFacts, wanted: Volume) -> VolumeFacts:
    """A new volume: as it is on disk, and described as its document did."""
    below = wanted.backing_store
    owned = permissions(below.permissions if below is not None else None)
    encryption = wanted.target.encryption
    secret = secret_of(encryption) if encryption is not None else SecretName("volume")
    return replace(
        found,
        secret_uuid=secret.uuid,
        secret_usage=secret.usage,
        format=wanted.target.format or found.format,
        compat=wanted.target.compat or "",
        features=tuple(features(wanted)),
        cluster_size=wanted.target.cluster_size or 0,
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
