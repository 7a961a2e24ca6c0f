"""The status document: what a worker must know to take over a guest that it did not start.

Owns: reading and writing it. May touch: paths.run/DRIVER/NAME.xml.
Source: libvirt's <domstatus>; the guest's own facts stand in an element of ours.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr, unescape

import msgspec

from rpc.enums import DomainState
from supervisor.objects.job import JobRecord
from supervisor.runtime.atomic_file import write_file

MAX_BYTES: Final = 32 << 20
OPENING: Final = "<virtvisor>"
CLOSING: Final = "</virtvisor>"

log = logging.getLogger(__name__)


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Whose a file was before the guest was given it."""

    path: str
    uid: int
    gid: int


class Status(msgspec.Struct, kw_only=True):
    """A guest as it stands; all but the document, which is beside it."""

    name: str
    uuid: str
    id: int
    state: int  # virDomainState
    reason: int
    pid: int = 0  # 0: the emulator was about to be started
    start: int = 0  # its start time, so that no other process is taken for it
    boot: str = ""  # the host's boot in which it runs
    started_at: float = 0.0
    monitor: str = ""  # the socket's path
    autodestroy: str = ""
    fake_reboot: bool = False  # the next power-off is a reboot
    ending: int = 0  # virDomainShutoffReason, once the guest is being ended
    owners: list[Owner] = []  # what is given back in the end
    job: JobRecord | None = None  # that QEMU does at the moment
    restart: bool = False  # the definition is started anew when the guest has gone


FACTS: Final = msgspec.json.Decoder(Status)


class StatusError(Exception):
    """A status document cannot be read: it names no guest that could be taken over."""


def write_status(path: Path, status: Status, live_xml: str) -> None:
    """Write it; on return it survives any process (a loss of power ends the guest, too).

    Raises:
        OSError: nothing has changed.
    """
    write_file(path, compose(status, live_xml).encode(), durable=False)


def read_status(path: Path) -> tuple[Status, str] | None:
    """Read it, with the live document; None: there is none.

    Raises:
        StatusError: it is none of ours.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise StatusError(f"{path} has over {MAX_BYTES} bytes")
    try:
        return parse(data.decode())
    except (ValueError, msgspec.MsgspecError) as error:
        raise StatusError(f"{path} is no status document of ours: {error}") from error


def find_status(path: Path) -> tuple[Status, str] | None:
    """What a predecessor has left; None: nothing, or what names no guest, which is removed."""
    try:
        return read_status(path)
    except StatusError as error:
        log.error("%s; it is removed, and a guest that it told of is not taken over", error)
        remove_status(path)
        return None


def remove_status(path: Path) -> None:
    """Remove it; the guest has gone."""
    path.unlink(missing_ok=True)


def compose(status: Status, live_xml: str) -> str:
    """The document."""
    facts = escape(msgspec.json.encode(status).decode())
    word = DomainState(status.state).name.lower()
    monitor = quoteattr(status.monitor)
    return (
        "<!--\nWARNING: THIS FILE IS WRITTEN BY THE DAEMON; CHANGES TO IT ARE LOST.\n-->\n"
        f"<domstatus state='{word}' reason='{status.reason}' pid='{status.pid}'>\n"
        f"  <monitor path={monitor} type='unix'/>\n"
        f"  {OPENING}{facts}{CLOSING}\n"
        f"{live_xml}</domstatus>\n"
    )


def parse(text: str) -> tuple[Status, str]:
    """The parts of a document.

    Raises:
        ValueError, msgspec.MsgspecError: it is none of ours.
    """
    begin, end = text.find(OPENING), text.find(CLOSING)
    domain, last = text.find("<domain ", end), text.rfind("</domstatus>")
    if not 0 <= begin < end < domain < last:
        raise ValueError("its parts are not all there")
    facts = unescape(text[begin + len(OPENING) : end])
    return FACTS.decode(facts), text[domain:last]
