"""Asks polkit about the single actions of clients: access_drivers = ["polkit"].

Owns: the connection to the system's D-Bus over which these questions go.
May touch: D-Bus, /proc of the client. May not touch: clients' bytes.

libvirt opens no connection for a question either, and waits for each before the next: a list of
500 domains is 500 waits. Here the questions of a call go out together, `AT_ONCE` at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from jeepney import DBusErrorResponse
from jeepney.io.asyncio import DBusConnection, DBusRouter, open_dbus_connection
from jeepney.io.common import RouterClosed

from ipc import handles
from rpc.errors import ErrorCode
from supervisor.authd.polkit import answer_of, polkit_error, question_about
from supervisor.messages.authd import AllowedActions, CheckActions, PolkitAction
from supervisor.runtime.procfs import start_time

AT_ONCE: Final = 64  # questions under way; dbus-daemon allows a connection 128
ANSWER_S: Final = 12.0  # for all questions of a call; no user is asked
#: What a connection raises that is no longer one; jeepney's router closes with a KeyError, too.
LOST: Final = (OSError, EOFError, KeyError, RouterClosed)

log = logging.getLogger(__name__)


class PolkitActions:
    """Handles the services' requests."""

    def __init__(self) -> None:
        self._router: DBusRouter | None = None
        self._connection: DBusConnection | None = None
        self._opening = asyncio.Lock()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._under_way = 0

    @property
    def is_idle(self) -> bool:
        """Whether no question is under way."""
        return not self._under_way

    @handles(CheckActions)
    async def check(self, request: CheckActions) -> AllowedActions:
        """Ask polkit about each action.

        Raises:
            VirError: AUTH_FAILED: it does not answer, or the client has ended.
        """
        started = request.started or start_time(request.pid)
        if started is None:
            raise polkit_error(ErrorCode.AUTH_FAILED, "the client has ended")
        process = (request.pid, started, request.uid)
        self._under_way += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                try:
                    return await self._ask_all(process, request.actions)
                except LOST:  # the connection is an old one: the message bus was restarted
                    await self.close()
                    return await self._ask_all(process, request.actions)
        except (*LOST, TimeoutError) as error:
            await self.close()
            log.warning("polkit does not answer about pid %d: %r", request.pid, error)
            detail = "polkit does not answer: is the service polkitd running?"
            raise polkit_error(ErrorCode.AUTH_FAILED, detail) from error
        finally:
            self._under_way -= 1

    async def _ask_all(
        self, process: tuple[int, int, int], actions: Sequence[PolkitAction]
    ) -> AllowedActions:
        answers = await asyncio.gather(*(self._ask(process, action) for action in actions))
        return AllowedActions(allowed=list(answers))

    async def _ask(self, process: tuple[int, int, int], action: PolkitAction) -> bool:
        async with self._places:
            router = await self._open()
            question = question_about(process, action.id, action.details)
            reply = await router.send_and_get_reply(question)
        try:
            is_authorized, _, _ = answer_of(reply)
        except (DBusErrorResponse, ValueError) as error:
            # The action is in no policy file, or polkitd failed.
            log.warning("polkit refuses to say whether %s is allowed: %s", action.id, error)
            return False
        return is_authorized

    async def _open(self) -> DBusRouter:
        """Return the connection; it is opened at its first use, and again when it was lost."""
        async with self._opening:
            if self._router is None:
                self._connection = await open_dbus_connection("SYSTEM")
                self._router = DBusRouter(self._connection)
            return self._router

    async def close(self) -> None:
        """Close the connection."""
        router, self._router = self._router, None
        connection, self._connection = self._connection, None
        if router is not None and connection is not None:
            with contextlib.suppress(OSError, EOFError):
                await router.__aexit__(None, None, None)
            with contextlib.suppress(OSError):
                await connection.close()
