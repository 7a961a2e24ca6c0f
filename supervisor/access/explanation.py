"""Explains to administrators what access control says: `virtvisorctl access explain`.

Owns: which permissions a call needs, told for a person; how objects are named on a command line.
May touch: the service's own look-ups. May not touch: calls of clients.
"""

from __future__ import annotations

from dataclasses import replace

from ipc import current_call, handles
from ipc.node import ROOT
from rpc.access_table import Permission, Rule, load_access
from rpc.errors import ErrorCode, VirError
from supervisor.access.access_object import CONNECT, CONNECTION, AccessObject
from supervisor.access.control import AccessControl, Question
from supervisor.access.object_finder import ObjectFinder
from supervisor.drivers.table import DRIVERS
from supervisor.messages.calls import (
    AccessExplanation,
    AccessQuestion,
    Client,
    ExplainAccess,
    ExplainedPermission,
)


class AccessExplainer:
    """Answers the root for one service."""

    def __init__(self, control: AccessControl, finder: ObjectFinder) -> None:
        self._control = control
        self._finder = finder

    @handles(ExplainAccess)
    async def explain(self, request: ExplainAccess) -> AccessExplanation:
        """Say what decides about a call.

        Raises:
            VirError: ACCESS_DENIED: another process than the root asks.
        """
        if current_call().peer != ROOT:
            raise VirError(ErrorCode.ACCESS_DENIED, "the root alone asks for explanations")
        return await self.explain_question(request.question)

    async def explain_question(self, question: AccessQuestion) -> AccessExplanation:
        """Say what decides about a call."""
        rules, listed = needed(question)
        object_type = rules[0].permission.object if rules else CONNECT
        obj, exists = await self._object(question, object_type)
        permissions = [self._explain(question, rule, obj, when(rule)) for rule in rules]
        if listed is not None:
            each = AccessObject(type=listed.object, name="…")
            permissions.append(
                self._explain(question, Rule(listed), each, "on each object that is listed")
            )
        return AccessExplanation(object=obj.text, exists=exists, permissions=permissions)

    def _explain(
        self, question: AccessQuestion, rule: Rule, obj: AccessObject, needed_when: str
    ) -> ExplainedPermission:
        asked = Question(rule.permission, obj, DRIVERS[question.driver].title)
        allowed, reasons = self._control.explain(question.identity, asked)
        return ExplainedPermission(
            permission=str(rule.permission), when=needed_when, allowed=allowed, reasons=reasons
        )

    async def _object(
        self, question: AccessQuestion, object_type: str
    ) -> tuple[AccessObject, bool]:
        """Look up what a person has named; what is not there is judged by its name."""
        if object_type == CONNECT:
            return CONNECTION, True
        client = Client(
            id="", identity=question.identity, read_only=False, uri="", driver=question.driver
        )
        try:
            _, obj = await self._finder.named(client, object_type, question.object)
        except VirError:
            container, _, name = question.object.rpartition("/")
            obj = AccessObject(type=object_type, name=name)
            return replace(obj, pool=container) if object_type == "storage_vol" else obj, False
        return obj, True


def needed(question: AccessQuestion) -> tuple[tuple[Rule, ...], Permission | None]:
    """Return what a call needs: on its object, and on each that it lists."""
    if question.permission:
        object_type, _, name = question.permission.partition(".")
        return (Rule(Permission(object_type, name)),), None
    access = load_access().calls[question.call]
    return access.rules, access.filter


def when(rule: Rule) -> str:
    """Say with which arguments a permission is needed; "": always."""
    if rule.flags:
        return f"{'without' if rule.unless else 'with'} flags {rule.flags:#x}"
    return f"with {rule.argument}={rule.value}" if rule.argument else ""
