"""Asks polkit whether a client may manage or watch the host, over the system's D-Bus.

Owns: the question and what its answer means. May touch: D-Bus, /proc of the client.
May not touch: clients' bytes.
Source: libvirt 9.0, virpolkit.c; polkit's D-Bus interface org.freedesktop.PolicyKit1.Authority.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

import msgspec
from jeepney import DBusAddress, DBusErrorResponse, Message, MessageType, new_method_call
from jeepney.io.asyncio import open_dbus_router

from ipc import Ack, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.authd import CheckPolkit
from supervisor.runtime.procfs import start_time

AUTHORITY: Final = DBusAddress(
    "/org/freedesktop/PolicyKit1/Authority",
    bus_name="org.freedesktop.PolicyKit1",
    interface="org.freedesktop.PolicyKit1.Authority",
)
ALLOW_USER_INTERACTION: Final = 1
MAX_QUESTIONS: Final = 64  # under way: each may wait for a user
ANSWER_S: Final = 125.0  # polkit's agents give a user two minutes

log = logging.getLogger(__name__)


class PolkitCalls:
    """Handles rpcd's requests."""

    def __init__(self) -> None:
        self._under_way = 0

    @property
    def is_idle(self) -> bool:
        """Whether no question is under way."""
        return not self._under_way

    @handles(CheckPolkit)
    async def check(self, request: CheckPolkit) -> Ack:
        """Ask polkit.

        Raises:
            VirError: AUTH_FAILED, AUTH_CANCELLED, AUTH_UNAVAILABLE.
        """
        if self._under_way >= MAX_QUESTIONS:
            raise polkit_error(ErrorCode.AUTH_FAILED, "too many questions to polkit are under way")
        started = start_time(request.pid)
        if started is None:
            raise polkit_error(ErrorCode.AUTH_FAILED, "the client has ended")
        self._under_way += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await ask(request.action, request.pid, started, request.uid)
        except (OSError, KeyError, EOFError, ValueError, TimeoutError, DBusErrorResponse) as error:
            log.warning("client %s is refused: polkit does not answer: %r", request.name, error)
            detail = "polkit does not answer: is the service polkitd running?"
            raise polkit_error(ErrorCode.AUTH_FAILED, detail) from error
        finally:
            self._under_way -= 1
        refusal = refusal_of(answer, request.action)
        if refusal is not None:
            log.warning("client %s is refused: polkit: %s", request.name, refusal.message)
            raise refusal
        log.info("client %s may do %s, says polkit", request.name, request.action)
        return Ack()


#: is_authorized, is_challenge, details
Answer = tuple[bool, bool, dict[str, str]]


async def ask(action: str, pid: int, started: int, uid: int) -> Answer:
    """Ask polkit about a process; it may ask the user.

    Raises:
        OSError, KeyError, EOFError, DBusErrorResponse: there is no D-Bus, or no polkit on it.
        ValueError: it answers something else.
    """
    question = question_about((pid, started, uid), action, {}, ALLOW_USER_INTERACTION)
    async with open_dbus_router(bus="SYSTEM") as router:
        return answer_of(await router.send_and_get_reply(question))


def question_about(
    process: tuple[int, int, int], action: str, details: Mapping[str, str], flags: int = 0
) -> Message:
    """Make the message of a question.

    Args:
        process: its pid, its start, which tells it from a later one with its pid, and its user.
        action: that it wants to do.
        details: for polkit's rules.
        flags: `ALLOW_USER_INTERACTION` or 0.
    """
    pid, started, uid = process
    subject = {"pid": ("u", pid), "start-time": ("t", started), "uid": ("i", uid)}
    return new_method_call(
        AUTHORITY,
        "CheckAuthorization",
        "(sa{sv})sa{ss}us",
        (("unix-process", subject), action, dict(details), flags, ""),
    )


def answer_of(reply: Message) -> Answer:
    """Read polkit's reply.

    Raises:
        DBusErrorResponse: it is an error. ValueError: it is of another form.
    """
    if reply.header.message_type is MessageType.error:
        raise DBusErrorResponse(reply)
    # `further` is an array of pairs to D-Bus, a dictionary to jeepney.
    return msgspec.convert(reply.body, tuple[Answer])[0]


def refusal_of(answer: Answer, action: str) -> VirError | None:
    """Return libvirt's error for polkit's answer; None: the client may."""
    is_authorized, is_challenge, details = answer
    if is_authorized:
        return None
    if details.get("polkit.dismissed"):
        return polkit_error(ErrorCode.AUTH_CANCELLED, "user cancelled authentication process")
    if is_challenge:
        detail = f"no polkit agent available to authenticate action '{action}'"
        return polkit_error(ErrorCode.AUTH_UNAVAILABLE, detail)
    return polkit_error(ErrorCode.AUTH_FAILED, "access denied by policy")


def polkit_error(code: ErrorCode, detail: str) -> VirError:
    """Make an error of polkit: virsh starts its agent for AUTH_UNAVAILABLE of this domain."""
    return VirError(code, detail, ErrorDomain.POLKIT)
