"""What the status documents say of guests, for as long as their workers do not.

Owns: reading the outside of <domstatus>; what else is in it is the workers'.
May touch: the folder of status documents, to read. May not touch: guests.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final

from rpc.enums import DomainState
from supervisor.domd.definition_files import read_header
from supervisor.messages.worker import DomainStatus

MAX_BYTES: Final = 32 << 20
_OPENING: Final = re.compile(r"<domstatus state='(\w+)' reason='(\d+)' pid='(\d+)'")
_ID: Final = re.compile(r"<domain [^>]*\bid='(\d+)'")

log = logging.getLogger(__name__)


def read_remembered(folder: Path) -> list[DomainStatus]:
    """Every guest that a status document tells of."""
    found = []
    for path in sorted(folder.glob("*.xml")):
        try:
            found.append(parse(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as error:
            log.error("%s cannot be read, its guest is not known: %s", path, error)
    return found


def parse(text: str) -> DomainStatus:
    """The guest that a status document tells of.

    Raises:
        ValueError, KeyError: it tells of none.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has over {MAX_BYTES} characters")
    opening = _OPENING.search(text)
    begin, end = text.find("<domain "), text.rfind("</domstatus>")
    if opening is None or not opening.end() < begin < end:
        raise ValueError("it is no <domstatus> with a <domain>")
    live = text[begin:end]
    number = _ID.match(live)
    stored = read_header(live)
    return DomainStatus(
        uuid=stored.uuid,
        name=stored.name,
        id=int(number[1]) if number else -1,
        pid=int(opening[3]),
        state=DomainState[opening[1].upper()],
        reason=int(opening[2]),
        live_xml=live,
        started_at=0.0,
    )
