"""A user for each guest (`dynamic_users` in qemu.conf), so that no guest opens another's files.

Owns: which number of the range is which domain's: a file for each below lib/DRIVER/users.
May touch: those files.

A domain keeps its number, also when it does not run: what a lost worker or a loss of power leaves
owned by it is no other domain's later. A number is taken from a domain only where its turn comes
and all near it are taken, too: then the one that was used last longest ago, of one that does not
run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.emulator_user import KVM_GROUP, User

PROBES: Final = 64  # numbers that are tried
ID_MAPS: Final = (Path("/proc/self/uid_map"), Path("/proc/self/gid_map"))


class UserRecord(msgspec.Struct, frozen=True):
    """Whose a number is."""

    uuid: str
    name: str


def candidates(uuid: str, numbers: range) -> list[int]:
    """List the numbers that a domain may have, the most wanted one first."""
    begin = int.from_bytes(hashlib.sha256(uuid.encode()).digest()[:8], "big") % len(numbers)
    count = min(PROBES, len(numbers))
    return [numbers[(begin + step) % len(numbers)] for step in range(count)]


def is_mapped(number: int, id_map: str) -> bool:
    """Return whether a user namespace has a number, by the text of its uid_map or gid_map."""
    for line in id_map.splitlines():
        inside, _, count = (int(field) for field in line.split())
        if inside <= number < inside + count:
            return True
    return False


class DynamicUsers:
    """The numbers and their domains."""

    def __init__(self, folder: Path, numbers: range, is_active: Callable[[str], bool]) -> None:
        """Describe where they are.

        Args:
            folder: of the records.
            numbers: the range of qemu.conf.
            is_active: whether a domain of that name runs.
        """
        self._folder = folder
        self._numbers = numbers
        self._is_active = is_active

    def reserve(self, uuid: str, name: str) -> User:
        """Return the user and group of a domain; the group has the same number.

        Raises:
            VirError: CONFIG_UNSUPPORTED: a container does not have the number; OPERATION_FAILED:
                running guests have all numbers that it may have; SYSTEM_ERROR: no record can be
                written.
        """
        try:
            number = self._reserve(UserRecord(uuid, name))
        except OSError as error:
            detail = f"no user of its own can be chosen for '{name}': {error}"
            raise VirError(
                ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.SECURITY, int1=error.errno or -1
            ) from error
        for id_map in ID_MAPS:
            if not is_mapped(number, id_map.read_text()):
                detail = (
                    f"dynamic_users chooses {number} for '{name}', which this container's user "
                    "namespace lacks; set dynamic_users_min and dynamic_users_max in qemu.conf"
                )
                raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
        return User(number, number, "", groups=(number, *_kvm_group()), is_dynamic=True)

    def _reserve(self, wanted: UserRecord) -> int:
        with self._locked():
            records = [(number, self._read(number)) for number in self._near(wanted.uuid)]
            number = self._choose(wanted, records)
            write_file(self._file(number), msgspec.json.encode(wanted))
        return number

    def _near(self, uuid: str) -> Iterator[int]:
        """List candidates up to the domain's own or a free one."""
        for number in candidates(uuid, self._numbers):
            yield number
            record = self._read(number)
            if record is None or record.uuid == uuid:
                return

    def _choose(self, wanted: UserRecord, records: list[tuple[int, UserRecord | None]]) -> int:
        number, last = records[-1]
        if last is None or last.uuid == wanted.uuid:
            return number
        idle = [number for number, record in records if record and not self._is_active(record.name)]
        if not idle:
            detail = (
                "running guests have all users that dynamic_users leaves for "
                f"'{wanted.name}'; set dynamic_users_max in qemu.conf higher"
            )
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
        return min(idle, key=lambda number: self._file(number).stat().st_mtime)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _read(self, number: int) -> UserRecord | None:
        try:
            return msgspec.json.decode(self._file(number).read_bytes(), type=UserRecord)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # for less than a millisecond, in a thread
            yield
        finally:
            os.close(fd)


def _kvm_group() -> tuple[int, ...]:
    """Return the group that may open /dev/kvm."""
    with contextlib.suppress(KeyError):
        return (grp.getgrnam(KVM_GROUP).gr_gid,)
    return ()


def grant_error(path: str, user: User, error: OSError) -> str:
    """Say why a file that guests share cannot be opened for one of them."""
    why = error.strerror or str(error)
    if error.errno == errno.EOPNOTSUPP:
        why = (
            "its file system has no access control lists; let others read it (chmod o+r), or set "
            "dynamic_users = 0 in qemu.conf"
        )
    return f"unable to let user {user.uid} open '{path}': {why}"
