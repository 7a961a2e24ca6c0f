"""Clients' calls on secrets, and what stord and workers ask for.

Owns: the order of disk, memory and events; who is told a value.
May touch: the store, in a thread; the table of secrets; the bus, to publish.
May not touch: logs with values; guests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from conf.errors import ConfError
from conf.secret import Secret, format_secret, parse_secret
from ipc import current_call, handles
from rpc.enums import ConnectListAllSecretsFlags as Filter
from rpc.enums import SecretDefineFlags, SecretEventID, SecretEventLifecycleType
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Secret as SecretId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.service_errors import SECRET_ERRORS
from supervisor.drivers.table import DRIVERS
from supervisor.hostd.secrets.files import SecretFiles
from supervisor.hostd.secrets.registry import SecretObject, SecretRegistry, value_of
from supervisor.messages.hostd import GetSecret, SecretValue
from supervisor.objects.change_lock import ChangeLock
from supervisor.runtime.shield import run_to_completion

#: Processes that may read values on the bus: stord, and workers by the beginning of their names.
TRUSTED: Final = ("stord", *DRIVERS.worker_prefixes())

log = logging.getLogger(__name__)


class SecretCalls:
    """One method a call."""

    def __init__(self, secrets: SecretRegistry, store: SecretFiles, publisher: Publisher) -> None:
        self._secrets = secrets
        self._store = store
        self._publisher = publisher
        self._turn = ChangeLock("secrets", SECRET_ERRORS)

    def load(self) -> None:
        """Know what lies on disk; called once, before anything is answered.

        Raises:
            OSError: the folder cannot be read.
        """
        for stored in self._store.load():
            try:
                secret = parse_secret(stored.xml)
                if secret.uuid != stored.uuid:
                    raise ConfError("xml", f"its UUID is {secret.uuid}")
                self._secrets.check_replace(secret)
            except (ConfError, VirError) as error:
                log.error("secret %s is left alone: %s", stored.uuid, error)
                continue
            self._secrets.add(SecretObject(secret, stored.value))

    # Queries.

    def connect_num_of_secrets(self, call: ClientCall) -> int:
        """How many there are."""
        return len(self._secrets)

    def connect_list_secrets(self, call: ClientCall, maxuuids: int) -> list[str]:
        """Their UUIDs, at most so many."""
        return [entry.secret.uuid for entry in self._secrets][: max(maxuuids, 0)]

    def connect_list_all_secrets(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[SecretId], int]:
        """Those that the flags let through, and how many they are."""
        SECRET_ERRORS.check_flags("secretConnectListAllSecrets", flags, sum(Filter))
        found = [entry.identity for entry in self._secrets.listed(flags)]
        return found if need_results else [], len(found)

    def secret_lookup_by_uuid(self, call: ClientCall, uuid: bytes) -> SecretId:
        """The secret of that UUID."""
        return self._secrets.by_uuid(str(UUID(bytes=uuid))).identity

    def secret_lookup_by_usage(self, call: ClientCall, usage_type: int, usage_id: str) -> SecretId:
        """The secret that opens that thing."""
        return self._secrets.by_usage(usage_type, usage_id).identity

    def secret_get_xml_desc(self, call: ClientCall, secret: SecretId, flags: int) -> str:
        """Its document; the value is not in it."""
        SECRET_ERRORS.check_flags("secretGetXMLDesc", flags)
        return format_secret(self._found(secret).secret)

    def secret_get_value(self, call: ClientCall, secret: SecretId, flags: int) -> bytes:
        """Its value, unless it is private."""
        SECRET_ERRORS.check_flags("secretGetValue", flags)
        if call.client.read_only:  # rpcd has refused it already; this is the second lock
            detail = "read only access prevents virSecretGetValue"
            raise VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.SECRET)
        entry = self._found(secret)
        if entry.secret.private:
            raise VirError(ErrorCode.INVALID_SECRET, "secret is private", ErrorDomain.SECRET)
        return value_of(entry)

    @handles(GetSecret)
    def get_secret(self, request: GetSecret) -> SecretValue:
        """A value for a process that needs it."""
        peer = current_call().peer
        if not any(peer == name or (name[-1] == ":" and peer.startswith(name)) for name in TRUSTED):
            detail = f"the process '{peer}' may not ask for secrets"
            raise VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.SECRET)
        value = self._secrets.get_value(request.usage_type, request.uuid, request.usage)
        return SecretValue(value=value)

    # Changes.

    async def secret_define_xml(self, call: ClientCall, xml: str, flags: int) -> SecretId:
        """Make a secret, or change one."""
        SECRET_ERRORS.check_flags("secretDefineXML", flags, SecretDefineFlags.VALIDATE)
        try:
            secret = parse_secret(xml)
        except ConfError as error:
            raise from_conf_error(error, ErrorDomain.SECRET) from error
        return (await run_to_completion(self._define(secret))).identity

    async def secret_set_value(
        self, call: ClientCall, secret: SecretId, value: bytes, flags: int
    ) -> None:
        """Give a secret its value."""
        SECRET_ERRORS.check_flags("secretSetValue", flags)
        await run_to_completion(self._set_value(secret, value))

    async def secret_undefine(self, call: ClientCall, secret: SecretId) -> None:
        """Forget a secret and its value."""
        await run_to_completion(self._undefine(secret))

    async def _define(self, secret: Secret) -> SecretObject:
        async with self._turn.hold("define"):
            old = self._secrets.check_replace(secret)
            entry = SecretObject(secret, old.value if old else None)
            await self._save(entry, old)
            self._secrets.add(entry)
            self._publisher.lifecycle(entry, SecretEventLifecycleType.DEFINED)
            return entry

    async def _save(self, entry: SecretObject, old: SecretObject | None) -> None:
        """Have the disk say what memory will say: nothing at all of an ephemeral secret."""
        uuid, value = entry.secret.uuid, entry.value
        was_kept = old is not None and not old.secret.ephemeral
        if not entry.secret.ephemeral:
            document = format_secret(entry.secret)
            await _disk("save", uuid, partial(self._store.save, uuid, document))
            if value is not None and not was_kept:
                await _disk("save", uuid, partial(self._store.save_value, uuid, value))
        elif was_kept:
            await _disk("remove", uuid, partial(self._store.remove, uuid))

    async def _set_value(self, secret: SecretId, value: bytes) -> None:
        async with self._turn.hold("set value"):
            entry = self._found(secret)
            if not entry.secret.ephemeral:
                uuid = entry.secret.uuid
                await _disk("save the value of", uuid, partial(self._store.save_value, uuid, value))
            entry.value = value
            self._publisher.publish(
                entry,
                SecretEventID.VALUE_CHANGED,
                "secret_event_value_changed",
                entry.identity,
            )

    async def _undefine(self, secret: SecretId) -> None:
        async with self._turn.hold("undefine"):
            entry = self._found(secret)
            if not entry.secret.ephemeral:
                uuid = entry.secret.uuid
                await _disk("remove", uuid, partial(self._store.remove, uuid))
            self._secrets.remove(entry)
            self._publisher.lifecycle(entry, SecretEventLifecycleType.UNDEFINED)

    def _found(self, secret: SecretId) -> SecretObject:
        return self._secrets.by_uuid(str(UUID(bytes=secret.uuid)))


async def _disk(doing: str, uuid: str, work: Callable[[], None]) -> None:
    """Have a thread change the disk.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    try:
        await asyncio.to_thread(work)
    except OSError as error:
        raise SECRET_ERRORS.system_error(f"cannot {doing} secret {uuid}", error) from error
