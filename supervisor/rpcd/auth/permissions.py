"""Permissions of the calls that rpcd answers itself: they are all about the connection.

Owns: which of them a call needs. Pure.
May not touch: clients, access drivers.
"""

from __future__ import annotations

from collections.abc import Sequence

from rpc.access_table import load_access
from rpc.table import Procedure
from supervisor.access.access_object import CONNECTION
from supervisor.access.control import Question
from supervisor.drivers.table import DRIVERS
from supervisor.rpcd.uri import select_driver

OPEN = "connect_open"


def opened_driver(procedure: Procedure, arguments: Sequence[object], *, session: bool) -> str:
    """Return the driver that CONNECT_OPEN is to open; "": none, or it is another call.

    Raises:
        VirError: NO_CONNECT: its URI is of no driver.
    """
    uri = arguments[0] if procedure.name == OPEN else None
    return select_driver(uri, session=session).driver if isinstance(uri, str) else ""


def connection_questions(
    procedure: Procedure, arguments: Sequence[object], driver: str
) -> list[Question]:
    """List what must be allowed for a call.

    Args:
        procedure: with `owner=rpcd`.
        arguments: the client's.
        driver: of its connection, or that it opens; "": none, and nothing is asked: what may be
            called before CONNECT_OPEN tells nothing.
    """
    if not driver:
        return []
    access = load_access().of(procedure)
    title = DRIVERS[driver].title
    needed = access.required(procedure, arguments)
    return [Question(permission, CONNECTION, title) for permission in needed]
