"""Calls on secrets: virSecret…, and the values that stord and workers read.

Owns: the order of disk, memory and events; who may read a value.
May touch: the files, in a thread; the registry of secrets; the bus, to publish.
May not touch: logs with values; guests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from conf.errors import ConfError
from conf.secret import Secret, format_secret, parse_secret
from ipc import current_call, handles
from rpc.enums import SecretDefineFlags, SecretEventID, SecretEventLifecycleType
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Secret as SecretId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.schema import require_valid
from supervisor.dispatch.service_errors import SECRET_ERRORS
from supervisor.drivers.table import DRIVERS
from supervisor.hostd.secrets.files import SecretFiles
from supervisor.hostd.secrets.registry import (
    FILTER,
    SECRETS,
    SecretObject,
    SecretRegistry,
    value_of,
)
from supervisor.messages.hostd import GetSecret, SecretValue
from supervisor.objects.change_lock import ChangeLock
from supervisor.objects.definitions import disk_errors
from supervisor.runtime.shield import run_to_completion

#: Processes that may read values on the bus: stord, and workers by the beginning of their names.
TRUSTED: Final = ("stord", *DRIVERS.worker_prefixes())

log = logging.getLogger(__name__)


class SecretCalls:
    """One method per call."""

    def __init__(self, secrets: SecretRegistry, files: SecretFiles, publisher: Publisher) -> None:
        self._secrets = secrets
        self._files = files
        self._publisher = publisher
        self._lock = ChangeLock("secrets", SECRET_ERRORS)

    def load(self) -> None:
        """Load the secrets; called once, before any call is answered.

        Raises:
            OSError: the folder cannot be read.
        """
        for stored in self._files.load():
            try:
                secret = parse_secret(stored.xml)
                if secret.uuid != stored.uuid:
                    raise ConfError("xml", f"its UUID is {secret.uuid}")
                obj = self._secrets.object_to_define(secret)
            except (ConfError, VirError) as error:
                log.error("secret %s is left out: %s", stored.uuid, error)
                continue
            obj.definition, obj.value = secret, stored.value
            self._secrets.add(obj)

    # Queries.

    def connect_num_of_secrets(self, call: ClientCall) -> int:
        """Return the number of secrets."""
        return len(self._secrets)

    def connect_list_secrets(self, call: ClientCall, maxuuids: int) -> list[str]:
        """Return the UUIDs of secrets, at most `maxuuids`."""
        return [obj.name for obj in self._secrets][: max(maxuuids, 0)]

    def connect_list_all_secrets(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[SecretId], int]:
        """Return the secrets that match the flags, and their number."""
        SECRET_ERRORS.check_flags("secretConnectListAllSecrets", flags, FILTER.flags)
        secrets = [obj.identity for obj in FILTER.select(self._secrets, flags)]
        return secrets if need_results else [], len(secrets)

    def secret_lookup_by_uuid(self, call: ClientCall, uuid: bytes) -> SecretId:
        """Look up a secret by UUID."""
        return self._secrets.get_by_uuid(uuid).identity

    def secret_lookup_by_usage(self, call: ClientCall, usage_type: int, usage_id: str) -> SecretId:
        """Look up a secret by usage."""
        return self._secrets.by_usage(usage_type, usage_id).identity

    def secret_get_xml_desc(self, call: ClientCall, secret: SecretId, flags: int) -> str:
        """Return the XML, without the value."""
        SECRET_ERRORS.check_flags("secretGetXMLDesc", flags)
        return format_secret(self._secrets.get_by_uuid(secret.uuid).secret)

    def secret_get_value(self, call: ClientCall, secret: SecretId, flags: int) -> bytes:
        """Return the value, unless the secret is private."""
        SECRET_ERRORS.check_flags("secretGetValue", flags)
        if call.client.read_only:  # rpcd has refused it already; this is the second lock
            detail = "read only access prevents virSecretGetValue"
            raise VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.SECRET)
        obj = self._secrets.get_by_uuid(secret.uuid)
        if obj.secret.private:
            raise VirError(ErrorCode.INVALID_SECRET, "secret is private", ErrorDomain.SECRET)
        return value_of(obj)

    @handles(GetSecret)
    def get_secret(self, request: GetSecret) -> SecretValue:
        """Return a value to stord or a worker."""
        peer = current_call().peer
        if not any(peer == name or (name[-1] == ":" and peer.startswith(name)) for name in TRUSTED):
            detail = f"the process '{peer}' may not ask for secrets"
            raise VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.SECRET)
        value = self._secrets.get_value(request.usage_type, request.uuid, request.usage)
        return SecretValue(value=value)

    # Changes.

    async def secret_define_xml(self, call: ClientCall, xml: str, flags: int) -> SecretId:
        """Define a secret, or change its definition."""
        SECRET_ERRORS.check_flags("secretDefineXML", flags, SecretDefineFlags.VALIDATE)
        await require_valid(xml, "secret.rng", Secret, flags & SecretDefineFlags.VALIDATE)
        try:
            secret = parse_secret(xml)
        except ConfError as error:
            raise from_conf_error(error, ErrorDomain.SECRET) from error
        return (await run_to_completion(self._define(secret))).identity

    async def secret_set_value(
        self, call: ClientCall, secret: SecretId, value: bytes, flags: int
    ) -> None:
        """Set the value of a secret."""
        SECRET_ERRORS.check_flags("secretSetValue", flags)
        if not value:  # libvirt's decoder makes a null pointer of it
            raise SECRET_ERRORS.invalid_arg("value in virSecretSetValue must not be NULL")
        await run_to_completion(self._set_value(secret, value))

    async def secret_undefine(self, call: ClientCall, secret: SecretId) -> None:
        """Remove a secret and its value."""
        await run_to_completion(self._undefine(secret))

    async def _define(self, secret: Secret) -> SecretObject:
        async with self._lock.hold("define"):
            obj = self._secrets.object_to_define(secret)
            await self._save(obj, secret)
            obj.definition = secret
            self._secrets.add(obj)
            self._publisher.lifecycle(obj, SecretEventLifecycleType.DEFINED)
            return obj

    async def _save(self, obj: SecretObject, secret: Secret) -> None:
        """Write a secret and its value; an ephemeral one has no files."""
        on_disk = obj.definition is not None and not obj.definition.ephemeral
        if not secret.ephemeral:
            xml = format_secret(secret)
            await _disk("save", obj, partial(self._files.save, obj.name, xml))
            if obj.value is not None and not on_disk:
                save_value = partial(self._files.save_value, obj.name, obj.value)
                await _disk("save", obj, save_value)
        elif on_disk:
            await _disk("remove", obj, partial(self._files.remove, obj.name))

    async def _set_value(self, secret: SecretId, value: bytes) -> None:
        async with self._lock.hold("set value"):
            obj = self._secrets.get_by_uuid(secret.uuid)
            if not obj.secret.ephemeral:
                save_value = partial(self._files.save_value, obj.name, value)
                await _disk("save the value of", obj, save_value)
            obj.value = value
            self._publisher.publish(
                obj,
                SecretEventID.VALUE_CHANGED,
                "secret_event_value_changed",
                obj.identity,
            )

    async def _undefine(self, secret: SecretId) -> None:
        async with self._lock.hold("undefine"):
            obj = self._secrets.get_by_uuid(secret.uuid)
            if not obj.secret.ephemeral:
                await _disk("remove", obj, partial(self._files.remove, obj.name))
            self._secrets.remove(obj)
            self._publisher.lifecycle(obj, SecretEventLifecycleType.UNDEFINED)


async def _disk(operation: str, obj: SecretObject, change: Callable[[], None]) -> None:
    """Change the disk in a thread.

    Raises:
        VirError: SYSTEM_ERROR; OPERATION_TIMEOUT.
    """
    with disk_errors(SECRETS, f"{operation} secret {obj.name}"):
        await asyncio.to_thread(change)
