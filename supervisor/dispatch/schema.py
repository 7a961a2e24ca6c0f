"""What of a client's XML libvirt does not know: refused with VALIDATE flags, logged without.

Owns: the thread in which that is done, the error's domain, the words in the log.
May not touch: models.
"""

from __future__ import annotations

import asyncio
import logging

from lxml import etree

from conf.errors import ConfError
from conf.schema import unknown_parts, validate_document
from rpc.errors import ErrorDomain
from supervisor.dispatch.errors import from_conf_error

log = logging.getLogger(__name__)


async def require_valid(xml: str, schema: str, model: type | str, requested: int) -> None:
    """Refuse XML that does not conform to its schema, if the call's flags request the check.

    Args:
        xml: the document.
        schema: file name, such as "domain.rng".
        model: the document's class or root element, as in `validate_document`.
        requested: the VALIDATE flag if it is set, else 0.

    Raises:
        VirError: XML_INVALID_SCHEMA; INTERNAL_ERROR: the schema file cannot be used.
    """
    if not requested:
        return
    try:
        # libxml2 validates without the interpreter's lock: other calls go on meanwhile.
        await asyncio.to_thread(validate_document, xml, schema, model)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.XML) from error


def log_unknown(what: str, root: etree._Element, model: type) -> None:
    """Name in the log what a definition has and nothing reads: a typing error has no effect.

    Args:
        what: is defined, "domain 'web'".
        root: of its document, which could be read.
        model: the document's class.
    """
    parts = unknown_parts(root, model)
    if parts:
        log.warning("the XML of %s has parts without effect: %s", what, "; ".join(parts))
