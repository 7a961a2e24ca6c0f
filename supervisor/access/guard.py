"""CallGuard: no call of a client reaches its method before the client's permissions are checked.

Owns: the check of every call of one service, and the filter of its lists.
May touch: the service's own look-ups, to learn which object a client means; access drivers.
May not touch: what calls do.

The dispatcher asks it for each call, so that no method can forget the check. A client names an
object by its UUID and may lie about the rest: the service's look-up says what the object is, and
its answer replaces the client's argument, so that what was checked is what is acted on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from conf.errors import ConfError
from ipc import Ack, handles
from rpc.access_table import Permission
from rpc.errors import ErrorCode, VirError
from rpc.table import Procedure
from rpc.values import (
    Domain,
    DomainStatsRecord,
    Network,
    NodeDevice,
    Secret,
    StoragePool,
)
from supervisor.access.access_object import CONNECTION, AccessObject, ObjectValue, describe
from supervisor.access.control import AccessControl, Question, access_denied, driver_title
from supervisor.access.documents import defined, metadata_of
from supervisor.access.explanation import AccessExplainer
from supervisor.access.lists import (
    FULL_LISTS,
    ListForm,
    counted_list,
    cut,
    form_of,
    keys_of,
    needs_results,
    widen,
)
from supervisor.access.object_finder import BY_NAME, BY_UUID, Invoke, ObjectFinder
from supervisor.access.subjects import (
    Subject,
    SubjectSource,
    UnknownSubject,
    migrated_domain,
    subject_of,
)
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.messages.calls import CheckAccess, Client
from supervisor.runtime.off_loop import off_loop

log = logging.getLogger(__name__)


class CallGuard:
    """Checks the calls of one service (`supervisor.dispatch.dispatcher.Guard`)."""

    def __init__(self, control: AccessControl) -> None:
        self._control = control
        self._finder = ObjectFinder(lambda: control.metadata_uris)

    def attach(self, invoke: Invoke) -> None:
        """Take what calls the service's own methods: `invoke(name, client, *arguments)`."""
        self._finder.invoke = invoke

    def explainer(self) -> AccessExplainer:
        """Make what explains the rules to administrators."""
        return AccessExplainer(self._control, self._finder)

    async def admit(
        self, procedure: Procedure, call: ClientCall, arguments: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Refuse a call that its client may not make.

        Returns:
            The arguments to call the method with: the object is as the service knows it, and a
            list is asked for in full, for it is cut after it is filtered.

        Raises:
            VirError: ACCESS_DENIED; what the look-up of the object raises.
        """
        subject = self._subject(procedure, call.client)
        permissions = subject.access.required(procedure, arguments)
        client = call.client
        match subject.source:
            case SubjectSource.CONNECTION:
                await self._require(client, permissions, [CONNECTION])
            case SubjectSource.ARGUMENT:
                value, obj = await self._finder.find(client, arguments[0])
                await self._require(client, permissions, [obj])
                arguments = (value, *arguments[1:])
            case SubjectSource.NAME:
                name = arguments[subject.argument]
                value = await self._finder.invoke(BY_NAME[subject.access.object_type], client, name)
                await self._require(client, permissions, [describe(value)])
            case SubjectSource.DOCUMENT:
                arguments = await self._admit_document(subject, client, permissions, arguments)
            case SubjectSource.MIGRATION:
                migrated = migrated_domain(procedure, arguments)
                name = migrated.name
                await self._require_definition(client, permissions, name, migrated.xml)
            case SubjectSource.METHOD:
                call.permit = self._permit(call, permissions)
            case SubjectSource.NOBODY | SubjectSource.RESULT:
                pass
        return widen(procedure, arguments) if subject.lists else arguments

    async def release(
        self,
        procedure: Procedure,
        call: ClientCall,
        arguments: tuple[Any, ...],
        result: Any,  # noqa: ANN401  (of any procedure)
    ) -> Any:  # noqa: ANN401
        """Check what a look-up has found, and drop from lists what the client may not see.

        Args:
            procedure: that was called.
            call: of the client.
            arguments: the client's own.
            result: of the method.

        Raises:
            VirError: ACCESS_DENIED.
        """
        # A cached reply would be another client's, too.
        call.forbid_cache()
        subject = self._subject(procedure, call.client)
        if subject.source is SubjectSource.RESULT:
            permissions = subject.access.required(procedure, arguments)
            _, obj = await self._finder.describe(call.client, result)
            await self._require(call.client, permissions, [obj])
        elif subject.source is SubjectSource.METHOD and call.permit is not None:
            log.error("%s has not checked who may call it", procedure.name)
            raise access_denied(driver_title(call.client))
        if subject.access.filter is None:
            return result
        return await self._visible(procedure, subject.access.filter, call, arguments, result)

    @handles(CheckAccess)
    async def check_access(self, request: CheckAccess) -> Ack:
        """Answer rpcd: may a client see the object of an event.

        Raises:
            VirError: ACCESS_DENIED.
        """
        permission = Permission(*request.permission)
        obj = gone(permission.object, request.uuid, request.name)
        try:
            if permission.object in BY_UUID:
                lookup = BY_UUID[permission.object]
                found = await self._finder.invoke(lookup, request.client, request.uuid)
                _, obj = await self._finder.describe(request.client, found)
        except VirError as error:
            log.debug("an event is about an object that is gone: %s", error)
        title = driver_title(request.client)
        # Not logged: the client has done nothing that it may not.
        (allowed,) = await self._control.allows(request.client, [Question(permission, obj, title)])
        if not allowed:
            raise access_denied(title)
        return Ack()

    # Objects.

    def _subject(self, procedure: Procedure, client: Client) -> Subject:
        try:
            return subject_of(procedure)
        except (KeyError, UnknownSubject):
            log.error("%s is refused: no rule says who may call it", procedure.name)
            raise access_denied(driver_title(client)) from None

    # Documents.

    async def _admit_document(
        self,
        subject: Subject,
        client: Client,
        permissions: Sequence[Permission],
        arguments: tuple[Any, ...],
    ) -> tuple[Any, ...]:
        xml: str = arguments[subject.argument]
        inside = None
        if subject.inside >= 0:
            place = subject.inside
            inside, _ = await self._finder.find(client, arguments[place])
            arguments = (*arguments[:place], inside, *arguments[place + 1 :])
        if subject.access.object_type == "domain":
            await self._require_definition(client, permissions, "", xml)
            return arguments
        try:
            obj = await off_loop(len(xml), lambda: defined(subject.access.object_type, xml, inside))
        except ConfError:  # the method says what is wrong with it, to whom may call it
            obj = AccessObject(type=subject.access.object_type)
        await self._require(client, permissions, [obj])
        return arguments

    async def _require_definition(
        self, client: Client, permissions: Sequence[Permission], name: str, xml: str
    ) -> None:
        """Check a domain's definition; and the domain that it changes: its metadata is another.

        Args:
            client: that calls.
            permissions: that it needs.
            name: another than the document's; "": the document's.
            xml: the document; "": there is none.
        """
        obj = AccessObject(type="domain", name=name)
        try:
            if xml:
                obj = await off_loop(len(xml), lambda: self._defined_domain(name, xml))
        except ConfError:  # the method says what is wrong with it, to whom may call it
            pass
        objects = [obj]
        try:
            if obj.name:
                present = await self._finder.invoke(BY_NAME["domain"], client, obj.name)
                objects.append((await self._finder.describe(client, present))[1])
        except VirError as error:
            if error.code is not ErrorCode.NO_DOMAIN:
                raise
        await self._require(client, permissions, objects)

    def _defined_domain(self, name: str, xml: str) -> AccessObject:
        obj = defined("domain", xml)
        uris = self._control.metadata_uris
        if name:
            obj = describe(Domain(name, b"", -1))
        return replace(obj, metadata=tuple(metadata_of(xml, uris).items())) if uris else obj

    def _permit(
        self, call: ClientCall, permissions: Sequence[Permission]
    ) -> Callable[[str], Awaitable[None]]:
        async def permit(xml: str) -> None:
            call.permit = None
            await self._require_definition(call.client, permissions, "", xml)

        return permit

    # Answers.

    async def _require(
        self,
        client: Client,
        permissions: Iterable[Permission],
        objects: Iterable[AccessObject],
    ) -> None:
        title = driver_title(client)
        questions = [Question(p, obj, title) for obj in objects for p in permissions]
        await self._control.require(client, questions)

    async def _visible(
        self,
        procedure: Procedure,
        permission: Permission,
        call: ClientCall,
        arguments: tuple[Any, ...],
        result: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Filter a list, or count what is left of it."""
        client, form = call.client, form_of(procedure)
        if form is ListForm.OBJECTS:
            shown = await self._shown(client, permission, result[0])
            return shown if needs_results(procedure, arguments) else [], len(shown)
        if form is ListForm.RECORDS:
            uuids = {dom.uuid for dom in await self._shown(client, permission, domains(result))}
            return [record for record in result if record.dom.uuid in uuids]
        if form is ListForm.COUNT:
            name, counted = counted_list(procedure, arguments)
            keys = await self._finder.invoke(name, client, *counted)
            return len(await self._visible_keys(client, permission, arguments, keys))
        if form is ListForm.KEYS:
            keys = await self._visible_keys(client, permission, arguments, result)
            return cut(procedure, arguments, keys)
        return result

    async def _visible_keys(
        self, client: Client, permission: Permission, arguments: Sequence[Any], keys: list[Any]
    ) -> list[Any]:
        """Return the names, numbers or UUIDs of objects that the client may see."""
        inside = arguments[:1] if permission.object == "storage_vol" else ()
        full, _ = await self._finder.invoke(FULL_LISTS[permission.object], client, *inside, 1, 0)
        shown = await self._shown(client, permission, full)
        visible = {key for value in shown for key in keys_of(value)}
        return [key for key in keys if key in visible]

    async def _shown(
        self, client: Client, permission: Permission, values: Sequence[Any]
    ) -> list[Any]:
        """Return the objects that the client has a permission on."""
        title, questions = driver_title(client), []
        for value in values:
            _, obj = await self._finder.describe(client, value)
            questions.append(Question(permission, obj, title))
        allowed = await self._control.allows(client, questions)
        return [value for value, yes in zip(values, allowed, strict=True) if yes]


def domains(records: Iterable[DomainStatsRecord]) -> list[Domain]:
    """Return the domains of records of statistics."""
    return [record.dom for record in records]


def gone(object_type: str, uuid: bytes, name: str) -> AccessObject:
    """Describe an object by what is left of it: its name and UUID."""
    make: dict[str, Callable[[], ObjectValue]] = {
        "domain": lambda: Domain(name, uuid, -1),
        "network": lambda: Network(name, uuid),
        "storage_pool": lambda: StoragePool(name, uuid),
        "secret": lambda: Secret(uuid, 0, ""),
        "node_device": lambda: NodeDevice(name),
    }
    return describe(make[object_type]())
