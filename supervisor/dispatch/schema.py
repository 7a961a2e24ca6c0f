"""VALIDATE flags: checks a client's XML against libvirt's schema before it is read.

Owns: the thread in which that is done, and the error's domain. May not touch: models.
"""

from __future__ import annotations

import asyncio

from conf.errors import ConfError
from conf.schema import validate_document
from rpc.errors import ErrorDomain
from supervisor.dispatch.errors import from_conf_error


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
