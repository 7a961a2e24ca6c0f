"""Every secret, found by UUID or by what it opens, and its value.

Owns: the table of secrets, in memory. May not touch: files, the bus, logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from conf.secret import Secret, UsageType
from rpc.enums import ConnectListAllSecretsFlags as Filter
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Secret as SecretId

MAX_SECRETS: Final = 16384  # the protocol lists no more


@dataclass(slots=True)
class SecretObject:
    """One secret."""

    secret: Secret
    value: bytes | None = None  # None: none has been set

    def __repr__(self) -> str:
        return f"Entry({self.secret.uuid})"

    @property
    def uuid(self) -> bytes:
        """Its UUID, 16 bytes."""
        return UUID(self.secret.uuid).bytes

    @property
    def identity(self) -> SecretId:
        """How clients name it."""
        return SecretId(self.uuid, self.secret.usage_type.number, self.secret.usage_id)


class SecretRegistry:
    """The secrets of one daemon."""

    def __init__(self) -> None:
        """Know none."""
        self._by_uuid: dict[str, SecretObject] = {}

    def __iter__(self) -> Iterator[SecretObject]:
        """Every secret."""
        return iter(list(self._by_uuid.values()))

    def __len__(self) -> int:
        return len(self._by_uuid)

    def add(self, entry: SecretObject) -> None:
        """Know a secret from now on, in place of one of the same UUID."""
        self._by_uuid[entry.secret.uuid] = entry

    def remove(self, entry: SecretObject) -> None:
        """Know it no longer."""
        if self._by_uuid.get(entry.secret.uuid) is entry:
            del self._by_uuid[entry.secret.uuid]

    def by_uuid(self, uuid: str) -> SecretObject:
        """The secret of that UUID.

        Raises:
            VirError: NO_SECRET.
        """
        entry = self._by_uuid.get(uuid)
        if entry is None:
            raise _none(f"no secret with matching uuid '{uuid}'")
        return entry

    def by_usage(self, usage_type: int, usage_id: str) -> SecretObject:
        """The secret that opens a thing; those for nothing in particular are not found so.

        Raises:
            VirError: NO_SECRET.
        """
        entry = self._opening(usage_type, usage_id)
        if entry is None:
            raise _none(f"no secret with matching usage '{usage_id}'")
        return entry

    def _opening(self, usage_type: int, usage_id: str) -> SecretObject | None:
        if usage_type == UsageType.NONE.number:
            return None
        return next(
            (
                entry
                for entry in self._by_uuid.values()
                if (entry.secret.usage_type.number, entry.secret.usage_id) == (usage_type, usage_id)
            ),
            None,
        )

    def listed(self, flags: int) -> list[SecretObject]:
        """Those that a client's filter lets through; flags of one pair add up."""
        return [entry for entry in self if _passes(entry.secret, Filter(flags))]

    def check_replace(self, new: Secret) -> SecretObject | None:
        """The secret that a definition would change; None for a new one.

        Raises:
            VirError: INTERNAL_ERROR when it would change what it is for, or who may see it, or
                when another secret is for the same thing; OPERATION_FAILED for one too many.
        """
        old = self._by_uuid.get(new.uuid)
        if old is None:
            rival = self._opening(new.usage_type.number, new.usage_id)
            if rival is not None:
                detail = f"a secret with UUID {rival.secret.uuid} already defined for use with "
                raise _clash(detail + new.usage_id)
            if len(self) >= MAX_SECRETS:
                detail = f"there are {MAX_SECRETS} secrets already; undefine some"
                raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.SECRET)
            return None
        if old.secret.usage_id != new.usage_id:
            detail = f"a secret with UUID {new.uuid} is already defined for use with "
            raise _clash(detail + old.secret.usage_id)
        if old.secret.private and not new.private:
            raise _clash("cannot change private flag on existing secret")
        return old

    def get_value(self, usage_type: str, uuid: str, usage_id: str) -> bytes:
        """The value of a secret that a document names.

        Args:
            usage_type: what it is wanted for.
            uuid: of the secret, or "".
            usage_id: the name of what it opens, where no UUID is given.

        Raises:
            VirError: NO_SECRET when there is none, or it has no value; INVALID_ARG when it is for
                something else.
        """
        if usage_type not in UsageType.__members__.values():
            detail = f"there are no secrets of type '{usage_type}'"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.SECRET)
        wanted = UsageType(usage_type)
        if uuid:
            entry = self.by_uuid(str(UUID(uuid)) if _is_uuid(uuid) else uuid)
        else:
            entry = self.by_usage(wanted.number, usage_id)
        found = entry.secret.usage_type
        if found not in (wanted, UsageType.NONE):
            detail = f"secret with uuid {entry.secret.uuid} is of type '{found}' not expected "
            raise VirError(ErrorCode.INVALID_ARG, f"{detail}'{wanted}' type", ErrorDomain.SECRET)
        return value_of(entry)


def value_of(entry: SecretObject) -> bytes:
    """A secret's value.

    Raises:
        VirError: NO_SECRET when none has been set.
    """
    if entry.value is None:
        raise _none(f"secret '{entry.secret.uuid}' does not have a value")
    return entry.value


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _passes(secret: Secret, flags: Filter) -> bool:
    for yes, no, has in (
        (Filter.EPHEMERAL, Filter.NO_EPHEMERAL, secret.ephemeral),
        (Filter.PRIVATE, Filter.NO_PRIVATE, secret.private),
    ):
        if flags & (yes | no) and not flags & (yes if has else no):
            return False
    return True


def _none(detail: str) -> VirError:
    return VirError(ErrorCode.NO_SECRET, detail, ErrorDomain.SECRET)


def _clash(detail: str) -> VirError:
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.SECRET)
