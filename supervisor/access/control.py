"""AccessControl: what the access drivers of libvirtd.conf say to a client's questions.

Owns: how several drivers and identities combine, and the error of a refusal.
May touch: authd over the bus, for polkit. May not touch: calls, objects.
Source: libvirt 9.0, viraccessmanager.c: each driver must allow.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from ipc import BusError, Node
from rpc.access_table import Permission
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.access.access_object import AccessObject
from supervisor.access.roles import Roles
from supervisor.drivers.table import DRIVERS
from supervisor.messages.authd import CheckActions, PolkitAction
from supervisor.messages.calls import Client, Identity

ROOT: Final = 0
ACTION: Final = "org.libvirt.api"

log = logging.getLogger(__name__)


class Question(NamedTuple):
    """May a client do this to that?"""

    permission: Permission
    obj: AccessObject
    driver: str  # libvirt's name of the connection's driver, "QEMU"


class AccessDriver(Protocol):
    """One of access_drivers."""

    @property
    def metadata_uris(self) -> tuple[str, ...]:
        """List the namespaces of the domains' metadata that it looks at."""

    async def allows(self, identity: Identity, questions: Sequence[Question]) -> list[bool]:
        """Answer the questions, in their order; what cannot be found out is a no."""

    def explain(self, identity: Identity, question: Question) -> tuple[bool | None, str]:
        """Say for a person what decides; None: that cannot be said without a running client."""


class RolesAccess:
    """The driver "roles": a file of rules (`AccessDriver`)."""

    def __init__(self, roles: Callable[[], Roles]) -> None:
        self._roles = roles

    @property
    def metadata_uris(self) -> tuple[str, ...]:
        """List the namespaces that its rules look at."""
        return self._roles().metadata_uris

    async def allows(self, identity: Identity, questions: Sequence[Question]) -> list[bool]:
        """Look for the rules."""
        roles, answers = self._roles(), []
        for permission, obj, driver in questions:
            found = roles.decide(identity, str(permission), obj, driver)
            answers.append(found is not None and found[1].allows)
        return answers

    def explain(self, identity: Identity, question: Question) -> tuple[bool | None, str]:
        """Name the line that decides."""
        roles, (permission, obj, driver) = self._roles(), question
        found = roles.decide(identity, str(permission), obj, driver)
        if found is None:
            return False, f"{roles.origin}: no line is for it"
        role, rule = found
        return rule.allows, f"{roles.origin}:{rule.line}: role {role.name}: {rule.text}"


class PolkitAccess:
    """The driver "polkit": its rules decide about each action and object (`AccessDriver`)."""

    metadata_uris: tuple[str, ...] = ()

    def __init__(self, node: Node) -> None:
        self._node = node

    async def allows(self, identity: Identity, questions: Sequence[Question]) -> list[bool]:
        """Have authd ask polkit, all questions at once."""
        if identity.pid <= 0:
            log.warning("polkit is not asked about a client without a process: it is refused")
            return [False] * len(questions)
        request = CheckActions(
            pid=identity.pid,
            started=identity.process_time,
            uid=identity.uid,
            actions=[action(question) for question in questions],
        )
        try:
            return (await self._node.link("authd").call(request)).allowed
        except (BusError, VirError) as error:
            log.warning("a client of uid %d is refused: polkit: %s", identity.uid, error)
            return [False] * len(questions)

    def explain(self, identity: Identity, question: Question) -> tuple[bool | None, str]:
        """Tell what polkit is asked."""
        if identity.uid < 0:
            return False, "polkit knows processes of this host only"
        asked = action(question)
        details = "".join(f" {name}={value}" for name, value in asked.details.items())
        return None, f"polkit is asked about {asked.id}{details}"


def action(question: Question) -> PolkitAction:
    """Name a question as polkit's rules know it."""
    permission, obj, driver = question
    name = f"{ACTION}.{permission}".replace("_", "-")
    return PolkitAction(name, {"connect_driver": driver, **dict(obj.attributes)})


class AccessControl:
    """All drivers together."""

    def __init__(self, drivers: Sequence[AccessDriver], *, session: bool) -> None:
        """Combine drivers.

        Args:
            drivers: each must allow.
            session: a daemon of one user, who is its administrator.
        """
        self._drivers = drivers
        self._administrators = {ROOT} | ({os.geteuid()} if session else set())

    @property
    def metadata_uris(self) -> tuple[str, ...]:
        """List the namespaces of the domains' metadata that the drivers look at."""
        return tuple(uri for driver in self._drivers for uri in driver.metadata_uris)

    async def allows(self, client: Client, questions: Sequence[Question]) -> list[bool]:
        """Answer questions about a client, in their order.

        Whoever stands for somebody else (CONNECT_SET_IDENTITY) needs the permission itself, too.
        Administrators have every permission, as polkit gives it to root.
        """
        answers = [True] * len(questions)
        for identity in self._identities(client):
            for driver in self._drivers:
                said = await driver.allows(identity, questions)
                answers = [old and new for old, new in zip(answers, said, strict=True)]
        return answers

    async def require(self, client: Client, questions: Sequence[Question]) -> None:
        """Refuse a client that may not do everything that is asked.

        Raises:
            VirError: ACCESS_DENIED.
        """
        for question, allowed in zip(questions, await self.allows(client, questions), strict=True):
            if not allowed:
                log.warning(
                    "client %s is refused: it lacks %s on %s",
                    *(who(client.identity), question.permission, question.obj.text),
                )
                raise access_denied(question.driver)

    def explain(self, identity: Identity, question: Question) -> tuple[bool | None, list[str]]:
        """Say for a person what decides, each driver's reason."""
        if identity.uid in self._administrators:
            return True, ["root has every permission"]
        said = [driver.explain(identity, question) for driver in self._drivers]
        answers = {allowed for allowed, _ in said}
        allowed = False if False in answers else None if None in answers else True
        return allowed, [reason for _, reason in said]

    def _identities(self, client: Client) -> list[Identity]:
        """Return the identities that need the permissions: none for an administrator."""
        identities = (
            [client.identity] if client.proven is None else [client.identity, client.proven]
        )
        return [identity for identity in identities if identity.uid not in self._administrators]


def driver_title(client: Client) -> str:
    """Return libvirt's name of a connection's driver: polkit's `connect_driver`."""
    return DRIVERS[client.driver].title


def access_denied(title: str) -> VirError:
    """ACCESS_DENIED, in libvirt's words: they do not say what is missing; the log does."""
    return VirError(ErrorCode.ACCESS_DENIED, f"'{title}' denied access", ErrorDomain.ACCESS)


def who(identity: Identity) -> str:
    """Describe a client for the log."""
    parts = []
    if identity.uid >= 0:
        parts.append(f"uid {identity.uid} pid {identity.pid}")
    if identity.sasl_name:
        parts.append(f"SASL '{identity.sasl_name}'")
    if identity.tls_dn:
        parts.append(f"certificate '{identity.tls_dn}'")
    return ", ".join(parts) or "without a name"
