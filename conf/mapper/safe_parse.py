"""Parses untrusted XML: entities, DTDs, size, depth and node count are limited.

Owns: these limits. May not touch: the meaning of elements.
"""

from __future__ import annotations

from typing import Final

from lxml import etree

from conf.errors import ConfError

MAX_SIZE: Final = 16 * 1024 * 1024  # bytes
#: A chain of 200 images, libvirt's own limit, is as many <backingStore> inside one another; libxml2
#: refuses more than 256 elements.
MAX_DEPTH: Final = 250
MAX_NODES: Final = 200_000
#: libxml2's codes for characters and encodings that are none, and for too much or too deep.
_ENCODING_PROBLEMS: Final = frozenset(
    (
        etree.ErrorTypes.ERR_INVALID_CHAR,
        etree.ErrorTypes.ERR_INVALID_CHARREF,
        etree.ErrorTypes.ERR_INVALID_ENCODING,
        etree.ErrorTypes.ERR_UNKNOWN_ENCODING,
        etree.ErrorTypes.ERR_UNSUPPORTED_ENCODING,
        etree.ErrorTypes.ERR_ENCODING_NAME,
        etree.ErrorTypes.I18N_CONV_FAILED,
        etree.ErrorTypes.ERR_NAME_TOO_LONG,
        etree.ErrorTypes.ERR_RESOURCE_LIMIT,
    )
)


def parse_tree(data: bytes | str) -> etree._Element:
    """Parse a document.

    Raises:
        ConfError: kind "xml_detail" when it is no XML; "xml" for what is not accepted: document
            types, entities, too much or too deep.
    """
    raw = _encoded(data)
    if len(raw) > MAX_SIZE:
        raise ConfError("xml", f"the document has {len(raw)} bytes; {MAX_SIZE} are accepted")
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise _has_document_type()
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=True,
    )
    try:
        root = etree.fromstring(raw, parser)
    except etree.XMLSyntaxError as error:
        code = error.code  # type: ignore[attr-defined]  # lxml's stubs lack it
        kind = "xml" if code in _ENCODING_PROBLEMS else "xml_detail"
        text = str(error.msg).partition(", line ")[0].strip()
        raise ConfError(kind, f"(document):{error.lineno}: {text}") from None
    except (ValueError, LookupError) as error:
        raise ConfError("xml", f"the document cannot be read: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise _has_document_type()  # in an encoding that hid it until now
    _check_depth(root)
    return root


def _has_document_type() -> ConfError:
    return ConfError("xml", "a document type or entities are not accepted")


def _encoded(data: bytes | str) -> bytes:
    if isinstance(data, bytes):
        raw = data
    else:
        # The text is decoded already: what it declares of its encoding is no longer true.
        if data.lstrip().startswith("<?xml"):
            data = data.partition("?>")[2]
        try:
            raw = data.encode()
        except UnicodeEncodeError as error:
            raise ConfError("xml", f"characters that are no text: {error}") from None
    if b"\0" in raw and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfError("xml", "a NUL in the document")
    return raw


def _check_depth(root: etree._Element) -> None:
    count = 0
    level: list[etree._Element] = [root]
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_NODES:
            raise ConfError("xml", f"more than {MAX_NODES} elements")
        level = [child for parent in level for child in parent]
        if not level:
            return
    raise ConfError("xml", f"elements are nested deeper than {MAX_DEPTH}")
