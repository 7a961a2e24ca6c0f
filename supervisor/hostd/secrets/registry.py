"""The registry of secrets, by UUID and by usage, and their values.

Owns: the secrets, in memory. May not touch: files, the bus, logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from conf.secret import Secret, UsageType
from rpc.enums import ConnectListAllSecretsFlags as Flags
from rpc.errors import ErrorCode, VirError
from rpc.values import Secret as SecretId
from supervisor.dispatch.service_errors import SECRET_ERRORS
from supervisor.objects.listing import ListFilter, either
from supervisor.objects.object import LibvirtObject
from supervisor.objects.object_type import ObjectType
from supervisor.objects.registry import Registry

MAX_SECRETS: Final = 16384  # the protocol lists no more


SECRETS: Final = ObjectType(
    name="secret",
    long_name="secret",
    edit_command="secret-define",
    not_found=ErrorCode.NO_SECRET,
    errors=SECRET_ERRORS,
    conf_errors=SECRET_ERRORS,
)


@dataclass(slots=True, eq=False, repr=False)
class SecretObject(LibvirtObject[Secret, None]):
    """One secret; its name is its UUID, for libvirt gives secrets none."""

    value: bytes | None = None  # None: none has been set

    def __repr__(self) -> str:
        return f"SecretObject({self.name})"  # the value must not reach a log

    @property
    def identity(self) -> SecretId:
        """The secret as clients name it."""
        secret = self.secret
        return SecretId(self.uuid, secret.usage_type.number, secret.usage_id)

    @property
    def secret(self) -> Secret:
        """Its definition."""
        assert self.definition is not None, "a secret without definition is in no registry"
        return self.definition


#: Of virConnectListAllSecrets.
FILTER: Final[ListFilter[SecretObject]] = ListFilter(
    either(Flags.EPHEMERAL, Flags.NO_EPHEMERAL, lambda obj: obj.secret.ephemeral),
    either(Flags.PRIVATE, Flags.NO_PRIVATE, lambda obj: obj.secret.private),
)


class SecretRegistry(Registry[SecretObject]):
    """The secrets of one daemon."""

    def __init__(self) -> None:
        super().__init__(SECRETS, SecretObject)

    def by_usage(self, usage_type: int, usage_id: str) -> SecretObject:
        """Return the secret of a usage; those of usage "none" are found by UUID alone.

        Raises:
            VirError: NO_SECRET.
        """
        obj = self._with_usage(usage_type, usage_id)
        if obj is None:
            raise SECRETS.no_such(f"with matching usage '{usage_id}'")
        return obj

    def _with_usage(self, usage_type: int, usage_id: str) -> SecretObject | None:
        if usage_type == UsageType.NONE.number:
            return None
        return next(
            (
                obj
                for obj in self
                if (obj.secret.usage_type.number, obj.secret.usage_id) == (usage_type, usage_id)
            ),
            None,
        )

    def object_to_define(self, new: Secret) -> SecretObject:
        """Return the secret that a definition changes; a new one, not yet added, for a new UUID.

        Raises:
            VirError: INTERNAL_ERROR: it would change the usage or the private flag, or another
                secret has the usage; OPERATION_FAILED: there are too many.
        """
        obj = self.object_for(new.uuid, UUID(new.uuid).bytes)
        old = obj.definition
        if old is None:
            rival = self._with_usage(new.usage_type.number, new.usage_id)
            if rival is not None:
                detail = f"a secret with UUID {rival.name} already defined for use with "
                raise _clash(detail + new.usage_id)
            if len(self) >= MAX_SECRETS:
                detail = f"there are {MAX_SECRETS} secrets already; undefine some"
                raise SECRET_ERRORS.operation_failed(detail)
            return obj
        if old.usage_id != new.usage_id:
            detail = f"a secret with UUID {new.uuid} is already defined for use with "
            raise _clash(detail + old.usage_id)
        if old.private and not new.private:
            raise _clash("cannot change private flag on existing secret")
        return obj

    def get_value(self, usage_type: str, uuid: str, usage_id: str) -> bytes:
        """Return the value of a secret that an XML names.

        Args:
            usage_type: of the XML that names it.
            uuid: of the secret, or "".
            usage_id: where no UUID is given.

        Raises:
            VirError: NO_SECRET: there is none, or it has no value; INVALID_ARG: it has another
                usage.
        """
        if usage_type not in UsageType.__members__.values():
            raise SECRET_ERRORS.invalid_arg(f"there are no secrets of type '{usage_type}'")
        requested = UsageType(usage_type)
        if not uuid:
            obj = self.by_usage(requested.number, usage_id)
        elif _is_uuid(uuid):
            obj = self.get_by_uuid(UUID(uuid).bytes)
        else:
            raise SECRETS.no_such(f"with matching uuid '{uuid}'")
        actual = obj.secret.usage_type
        if actual not in (requested, UsageType.NONE):
            detail = f"secret with uuid {obj.name} is of type '{actual}' not expected "
            raise SECRET_ERRORS.invalid_arg(f"{detail}'{requested}' type")
        return value_of(obj)


def value_of(obj: SecretObject) -> bytes:
    """Return a secret's value.

    Raises:
        VirError: NO_SECRET: none has been set.
    """
    if obj.value is None:
        detail = f"secret '{obj.name}' does not have a value"
        raise SECRET_ERRORS.error(ErrorCode.NO_SECRET, detail)
    return obj.value


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _clash(detail: str) -> VirError:
    return SECRET_ERRORS.error(ErrorCode.INTERNAL_ERROR, detail)
