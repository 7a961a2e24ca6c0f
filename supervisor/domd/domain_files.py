"""DomainFiles: managed save, snapshots, checkpoints, NVRAM and TPM state of domains.

Owns: finding and removing it. May touch: files under the daemon's state folder.
May not touch: definitions, disks of guests.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from rpc.enums import DomainUndefineFlagsValues as Flags
from rpc.errors import VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.domain import Definition, DomainObject
from supervisor.runtime.atomic_file import make_folder
from supervisor.runtime.paths import Paths

log = logging.getLogger(__name__)


class DomainFiles:
    """The files of one driver's domains."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def has_managed_save(self, domain: DomainObject) -> bool:
        """Return whether the domain has a managed save image."""
        return self._paths.managed_save(domain.name).exists()

    def managed_save(self, domain: DomainObject) -> Path:
        """Return where the domain's managed save image is, or would be."""
        return self._paths.managed_save(domain.name)

    def make_managed_save_folder(self, domain: DomainObject) -> None:
        """Create the folder of managed save images.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        folder = self._paths.managed_save(domain.name).parent
        try:
            make_folder(folder, mode=0o750)
        except OSError as error:
            raise domain.errors.system_error(f"cannot create '{folder}'", error) from error

    def remove_managed_save(self, domain: DomainObject) -> None:
        """Remove the managed save image.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        remove(self._paths.managed_save(domain.name), "managed save file", domain.errors)

    def has_snapshots(self, domain: DomainObject) -> bool:
        """Return whether the domain has snapshot metadata."""
        return any(xml_files(self._paths.snapshots(domain.name)))

    def has_checkpoints(self, domain: DomainObject) -> bool:
        """Return whether the domain has checkpoint metadata."""
        return any(xml_files(self._paths.checkpoints(domain.name)))

    def reset_nvram(self, domain: DomainObject, definition: Definition) -> None:
        """Remove the NVRAM file, so that a start from this definition makes it from its template.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        nvram = self._nvram_of(definition, domain.name)
        if nvram is not None and nvram.is_file():
            remove(nvram, "nvram", domain.errors)

    def remove_logs(self, domain: DomainObject) -> None:
        """Remove the emulator's log, and those that logrotate made of it (NAME.log.1).

        Raises:
            VirError: SYSTEM_ERROR.
        """
        log = self._paths.guest_log(domain.name)
        for path in logs(log):
            remove(path, "log file", domain.errors)

    def remove_on_undefine(self, domain: DomainObject, flags: int) -> None:
        """Delete managed save, snapshots, NVRAM and TPM state as the undefine flags ask.

        Everything is checked before anything is removed.

        Raises:
            VirError: OPERATION_INVALID for what the flags say nothing of, SYSTEM_ERROR.
        """
        doomed = list(self._to_remove(domain, flags))
        for what, path in doomed:
            remove(path, what, domain.errors)
            if what == "snapshots":
                domain.snapshots = None
            elif what == "checkpoints":
                domain.checkpoints = None

    def _to_remove(self, domain: DomainObject, flags: int) -> Iterator[tuple[str, Path]]:
        if not domain.is_active:
            yield from self._snapshots(domain, flags)
        saved = self._paths.managed_save(domain.name)
        if saved.exists():
            if not flags & Flags.MANAGED_SAVE:
                detail = "Refusing to undefine while domain managed save image exists"
                raise domain.errors.operation_invalid(
                    f"{detail}: {saved}; say --managed-save to remove it"
                )
            yield "managed save file", saved
        nvram = self._nvram(domain)
        if nvram is not None and not flags & Flags.KEEP_NVRAM and nvram.exists():
            if not flags & Flags.NVRAM:
                detail = "cannot undefine domain with nvram"
                raise domain.errors.operation_invalid(
                    f"{detail} {nvram}; say --nvram or --keep-nvram"
                )
            yield "nvram", nvram
        # The TPM of a running guest has its state open; it goes with the guest (`forget_tpm`).
        keeps_tpm = flags & Flags.KEEP_TPM or domain.is_active
        if not keeps_tpm and (flags & Flags.TPM or not keeps_tpm_state(domain.definition)):
            yield "TPM state", self._paths.tpm_state(domain.uuid_text)

    def forget_tpm(self, domain: DomainObject) -> None:
        """Remove the TPM state of a transient domain that has ended; a failure is logged."""
        ended = domain.ended
        if ended is None or "<tpm" not in ended.xml or keeps_tpm_state(ended):
            return
        try:
            remove(self._paths.tpm_state(domain.uuid_text), "TPM state", domain.errors)
        except VirError as error:
            log.warning("%s", error)

    def _snapshots(self, domain: DomainObject, flags: int) -> Iterator[tuple[str, Path]]:
        for kind, flag, folder in (
            ("snapshots", Flags.SNAPSHOTS_METADATA, self._paths.snapshots(domain.name)),
            ("checkpoints", Flags.CHECKPOINTS_METADATA, self._paths.checkpoints(domain.name)),
        ):
            try:
                names = os.listdir(folder)
            except FileNotFoundError:
                continue
            count = sum(name.endswith(".xml") for name in names)
            if count and not flags & flag:
                detail = f"cannot delete inactive domain with {count} {kind}"
                raise domain.errors.operation_invalid(
                    f"{detail}; say --{kind}-metadata to forget them"
                )
            yield kind, folder  # it may have what a checkpoint half made has left

    def _nvram(self, domain: DomainObject) -> Path | None:
        """Return the path of the domain's NVRAM, if it has a file of its own."""
        assert domain.definition is not None, "only a defined domain is asked about"
        return self._nvram_of(domain.definition, domain.name)

    def _nvram_of(self, definition: Definition, name: str) -> Path | None:
        nvram = definition.domain.os.nvram
        if nvram is None:
            return self._paths.nvram(name)
        if nvram.source is not None:
            return Path(nvram.source.file) if nvram.source.file else None
        return Path(nvram.path) if nvram.path else self._paths.nvram(name)


def keeps_tpm_state(definition: Definition | None) -> bool:
    """Return whether persistent_state keeps the TPM's state beyond the definition."""
    if definition is None or "<tpm" not in definition.xml:
        return False
    return any(tpm.backend.persistent_state for tpm in definition.domain.devices.tpms)


def logs(log: Path) -> list[Path]:
    """List a log and its rotated copies, with or without a suffix of compression."""
    try:
        names = os.listdir(log.parent)
    except FileNotFoundError:
        return []
    rotated = re.compile(rf"{re.escape(log.name)}(\.\d+(\.[a-z0-9]+)?)?")
    return [log.parent / name for name in sorted(names) if rotated.fullmatch(name)]


def xml_files(folder: Path) -> Iterator[Path]:
    """Yield the XML files of a directory; none if it does not exist."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    yield from (folder / name for name in names if name.endswith(".xml"))


def check_keep_flags(flags: int, errors: ServiceErrors) -> None:
    """Refuse flags that both keep and delete a file.

    Raises:
        VirError: OPERATION_INVALID.
    """
    for kind, both in (
        ("nvram", Flags.NVRAM | Flags.KEEP_NVRAM),
        ("TPM", Flags.TPM | Flags.KEEP_TPM),
    ):
        if flags & both == both:
            raise errors.operation_invalid(f"cannot both keep and delete {kind}")


def remove(path: Path, what: str, errors: ServiceErrors) -> None:
    """Remove a file or directory; a directory may not exist.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=what == "TPM state")
    except OSError as error:
        raise errors.system_error(f"Failed to remove {what} '{path}'", error) from error
