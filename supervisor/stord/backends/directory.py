"""Directory pools (dir); base of the pools whose directory is a mount point (fs, netfs).

Owns: how a file becomes a volume: created under a temporary name, renamed when it is complete.
May touch: the pool's directory, through `BackendContext.process`; qemu-img.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from typing import Final, TypeVar

from msgspec.structs import replace

from conf.storage import Volume
from ipc import Request
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.shield import run_to_completion
from supervisor.stord.backends.base import (
    BackendContext,
    CreateOptions,
    Overwrite,
    ResizeOptions,
)
from supervisor.stord.backends.file_volumes import (
    QUICK_COPY,
    RAW_FORMATS,
    file_permissions,
    is_plain,
    is_plain_clone,
    raw_copy,
    raw_file,
    resize_image,
    with_definition,
    write_file,
)
from supervisor.stord.pool_process.messages import (
    AbortCreate,
    CheckDirectory,
    CloneRawVolume,
    CommitFile,
    CreateDirectoryVolume,
    CreateRawVolume,
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
from supervisor.stord.pool_xml import check_volume
from supervisor.stord.secrets import encryption_secret
from supervisor.stord.volume_info import NewVolume, PoolInfo, VolumeInfo

VOLUME_MODE: Final = 0o600  # VIR_STORAGE_DEFAULT_VOL_PERM_MODE
#: The kernel stamps files with the time of its last tick.
CLOCK_SLACK_NS: Final = 20_000_000
#: Of a request whose process hung or died: it may have been done all the same.
UNKNOWN_OUTCOMES: Final = (ErrorCode.OPERATION_TIMEOUT, ErrorCode.INTERNAL_ERROR)

R = TypeVar("R")

log = logging.getLogger(__name__)


class DirectoryBackend:
    """Storage of a pool of type dir."""

    copies_data = True

    def __init__(self, context: BackendContext) -> None:
        self.context = context
        self.path = context.pool.path

    async def check(self) -> bool:
        """Return whether the directory exists.

        Raises:
            VirError: OPERATION_TIMEOUT: unknown, its storage hangs.
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
        """Check that the directory exists; remove leftovers of an earlier stord."""
        await self.context.process.call(CheckDirectory(path=self.path))
        await self._remove_leftovers()

    async def stop(self) -> None:
        """Do nothing: a directory needs no deactivation."""

    async def refresh(self) -> PoolInfo:
        """Scan the directory."""
        return await self.context.process.call(Scan(directory=self.path))

    async def read_space(self) -> PoolInfo:
        """Measure the file system."""
        return await self.context.process.call(GetSpace(directory=self.path))

    async def build(self, overwrite: Overwrite) -> None:
        """Create the directory.

        Raises:
            VirError: OPERATION_INVALID: overwrite flags have no meaning for a directory.
        """
        if overwrite is not Overwrite.UNSPECIFIED:
            detail = f"a pool of type '{self.context.pool.type}' has no overwrite flags"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.STORAGE)
        await self.make_directory()

    async def make_directory(self) -> None:
        """Create the directory with the permissions of the pool's <target>."""
        permissions = file_permissions(self.context.pool.target.permissions)
        await self.context.process.call(MakeDirectory(path=self.path, permissions=permissions))

    async def delete(self) -> None:
        """Remove the directory, which must be empty."""
        await self.context.process.call(RemoveDirectory(path=self.path))

    # Volumes.

    async def refresh_volume(self, volume: VolumeInfo) -> VolumeInfo:
        """Read sizes, owner and times of a file; keep what its XML said when it was created."""
        is_raw = volume.format == "raw" and not volume.encryption
        stat = Stat(directory=self.path, name=volume.name, is_raw=is_raw)
        info = await self.context.process.call(stat)
        return replace(
            info,
            format=volume.format,
            compat=volume.compat,
            features=volume.features,
            cluster_size=volume.cluster_size,
            backing=volume.backing,
            encryption=volume.encryption,
            secret_uuid=volume.secret_uuid,
            secret_usage=volume.secret_usage,
        )

    async def create_volume(self, definition: Volume, options: CreateOptions) -> NewVolume:
        """Create a file, or a directory.

        Raises:
            VirError: those of the document's rules; NO_SECRET; INVALID_ARG for a name with the
                prefix of temporary files.
        """
        await self._check_definition(definition)
        if definition.target.format == "dir":
            made = await self._create_directory(definition, options)
        else:
            made = await self._create_file(definition, options)
        return replace(made, volume=with_definition(made.volume, definition))

    async def clone_at_once(
        self, definition: Volume, source: VolumeInfo, options: CreateOptions
    ) -> NewVolume | None:
        """Copy a raw file of the pool in one request, if it is small.

        Raises:
            VirError: as `create_volume`; NO_STORAGE_VOL.
        """
        if not is_plain_clone(definition, source, options, self.path):
            return None
        await self._check_definition(definition)
        temporary = temporary_name(self.context.host_tag)
        clone = CloneRawVolume(
            directory=self.path,
            temporary_name=temporary,
            copy=raw_copy(definition, source, options, f"{self.path}/{temporary}"),
            name=definition.name,
            permissions=file_permissions(definition.target.permissions, mode=VOLUME_MODE),
            limit=QUICK_COPY,
        )
        made = (await self._create_at_once(clone, temporary, definition.name)).made
        if made is None:
            return None
        return replace(made, volume=with_definition(made.volume, definition))

    async def delete_volume(self, volume: VolumeInfo, *, zeroed: bool) -> PoolInfo | None:
        """Remove a file or an empty directory; return the space that there is now."""
        if zeroed and volume.type == "file":
            await self.context.process.call_dedicated(Wipe(path=volume.path))
        remove = Remove(directory=self.path, name=volume.name)
        return (await self.context.process.call(remove, finish=True)).space

    async def resize_volume(
        self, volume: VolumeInfo, capacity: int, options: ResizeOptions
    ) -> None:
        """Change a file's capacity.

        Raises:
            VirError: OPERATION_UNSUPPORTED: ALLOCATE for another format than raw.
        """
        if volume.format in RAW_FORMATS and not volume.encryption:
            request = Resize(path=volume.path, capacity=capacity, allocate=options.allocate)
            await self.context.process.call_dedicated(request)
            return
        if options.allocate:
            detail = "preallocate is only supported for raw volumes without encryption"
            raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.STORAGE)
        await resize_image(self.context, volume, capacity, shrink=options.shrink)

    async def _check_definition(self, definition: Volume) -> None:
        """Refuse what cannot be created. The secret is sought first, as in libvirt."""
        encryption = definition.target.encryption
        is_file = definition.target.format != "dir"
        if is_file and encryption is not None and len(encryption.secrets) == 1:
            await self.context.find_secret(encryption_secret(encryption))
        check_volume(definition, self.context.pool.type)
        if is_temporary(definition.name):
            detail = f"volume name '{definition.name}' has the prefix of temporary files"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)

    async def _create_directory(self, definition: Volume, options: CreateOptions) -> NewVolume:
        if options.clone_source is not None:
            source = options.clone_source.volume.name
            detail = f"cannot clone '{source}' to a volume of format dir"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.STORAGE)
        permissions = file_permissions(definition.target.permissions, mode=VOLUME_MODE)
        request = CreateDirectoryVolume(
            directory=self.path, name=definition.name, permissions=permissions
        )
        await self.context.process.call(request)
        try:
            return NewVolume(volume=await self._stat(definition.name))
        except BaseException:
            with contextlib.suppress(VirError):
                remove = Remove(directory=self.path, name=definition.name)
                await run_to_completion(self.context.process.call(remove))
            raise

    async def _create_plain(self, definition: Volume) -> NewVolume:
        """Create a raw file that takes no time to write, in one request."""
        temporary = temporary_name(self.context.host_tag)
        create = CreateRawVolume(
            file=raw_file(definition, self.path, temporary),
            name=definition.name,
            permissions=file_permissions(definition.target.permissions, mode=VOLUME_MODE),
        )
        return await self._create_at_once(create, temporary, definition.name)

    async def _create_at_once(self, request: Request[R], temporary: str, name: str) -> R:
        """Send a request that leaves nothing when it fails; clean up where that is not known."""
        since_ns = time.time_ns() - CLOCK_SLACK_NS
        try:
            # Finished, so that its outcome is known before the clean-up looks at the names.
            return await self.context.process.call(request, finish=True)
        except BaseException as error:
            if not isinstance(error, VirError) or error.code in UNKNOWN_OUTCOMES:
                await run_to_completion(self._abort_create(temporary, name, since_ns))
            raise

    async def _create_file(self, definition: Volume, options: CreateOptions) -> NewVolume:
        if is_plain(definition, options):
            return await self._create_plain(definition)
        temporary = temporary_name(self.context.host_tag)
        committed_name = ""
        try:
            await write_file(self.context, definition, options, temporary)
            committed_name = definition.name  # from here on the rename may have happened
            commit = CommitFile(
                directory=self.path,
                temporary_name=temporary,
                name=definition.name,
                permissions=file_permissions(definition.target.permissions, mode=VOLUME_MODE),
            )
            # Finished as in `_create_at_once`.
            return await self.context.process.call(commit, finish=True)
        except BaseException as error:
            if is_refused_commit(error):
                committed_name = ""
            await run_to_completion(self._abort_create(temporary, committed_name))
            raise

    async def _abort_create(self, temporary: str, committed_name: str, since_ns: int = 0) -> None:
        """Remove a file whose creation failed; where that fails, the next start removes it."""
        request = AbortCreate(
            directory=self.path,
            temporary_name=temporary,
            name=committed_name,
            since_ns=since_ns,
        )
        with contextlib.suppress(VirError):
            await self.context.process.call(request)

    async def _stat(self, name: str) -> VolumeInfo:
        return await self.context.process.call(Stat(directory=self.path, name=name))

    async def _remove_leftovers(self) -> None:
        """Remove temporary files; a failure is only logged, for no client sees these files."""
        request = RemoveLeftovers(
            directory=self.path, host_tag=self.context.host_tag, pid=os.getpid()
        )
        try:
            await self.context.process.call(request)
        except VirError as error:
            log.warning(
                "cannot remove temporary files of pool '%s': %s", self.context.pool.name, error
            )


def is_refused_commit(error: BaseException) -> bool:
    """Return whether a commit certainly renamed nothing: a file of that name is another one."""
    if not isinstance(error, VirError):
        return False
    return error.code is ErrorCode.STORAGE_VOL_EXIST or error.ints[0] == errno.ENOENT
