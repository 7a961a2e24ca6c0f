"""Title, description and applications' metadata of a domain: reading and changing. Pure.

Owns: what may stand there. May not touch: files, the registry.
Source: libvirt 9.0 virDomainSetMetadata, virDomainGetMetadata.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lxml import etree

from conf.domain import Domain
from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from rpc.enums import DomainMetadataType
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import DescriptionField

#: The field of `Domain` that each kind is.
FIELDS: Final[dict[DomainMetadataType, DescriptionField]] = {
    DomainMetadataType.TITLE: "title",
    DomainMetadataType.DESCRIPTION: "description",
    DomainMetadataType.ELEMENT: "metadata",
}


def read_metadata(domain: Domain, kind: int, uri: str | None) -> str:
    """Return the title, description, or the element of a namespace; `check_kind` has passed.

    Raises:
        VirError: NO_DOMAIN_METADATA when there is none, INVALID_ARG: no namespace is given.
    """
    if kind == DomainMetadataType.TITLE:
        text = domain.title
    elif kind == DomainMetadataType.DESCRIPTION:
        text = domain.description
    else:
        if not uri:
            raise refused("uri in virDomainGetMetadata must not be NULL")
        text = read_element(domain.metadata, uri)
    if not text:
        detail = "Requested metadata element is not present"
        raise VirError(ErrorCode.NO_DOMAIN_METADATA, detail, ErrorDomain.DOMAIN)
    return text


def changed_field(
    metadata: Callable[[], str | None],
    kind: int,
    value: str | None,
    key: str | None,
    uri: str | None,
) -> tuple[DescriptionField, str | None]:
    """Return which field of a domain is set, and its new text; None: it has none.

    `check_kind` has passed.

    Args:
        metadata: reads what the domain has; called only where an element of it is set.
        kind: virDomainMetadataType.
        value: the title, the description, or the element; None removes it.
        key: the prefix of an element's namespace.
        uri: the namespace.

    Raises:
        VirError: INVALID_ARG for what cannot be; XML_ERROR for an element that is no XML.
    """
    field = FIELDS[DomainMetadataType(kind)]
    if kind == DomainMetadataType.ELEMENT:
        if not uri:
            raise refused("uri in virDomainSetMetadata must not be NULL")
        return field, change_element(metadata(), value, key, uri)
    if kind == DomainMetadataType.TITLE and value is not None and "\n" in value:
        raise refused("metadata title can't contain newlines")
    return field, value or None


def read_element(metadata: str | None, uri: str) -> str | None:
    """Return the element of a namespace, without the namespace's prefix."""
    if metadata is None:
        return None
    for child in parse_tree(metadata):
        name = etree.QName(child)
        if name.namespace == uri:
            return etree.tostring(without_namespace(child, uri), encoding="unicode")
    return None


def change_element(
    metadata: str | None, value: str | None, key: str | None, uri: str
) -> str | None:
    """Return the metadata with the element of a namespace replaced, added or removed."""
    root = parse_tree(metadata) if metadata is not None else etree.Element("metadata")
    for child in list(root):
        if etree.QName(child).namespace == uri:
            root.remove(child)
    if value is not None:
        if not key:
            raise refused("key in virDomainSetMetadata must not be NULL")
        try:
            element = parse_tree(value)
            root.append(with_namespace(element, key, uri))
        except ConfError as error:
            raise VirError(ErrorCode.XML_DETAIL, error.message, ErrorDomain.DOMAIN) from error
        except ValueError as error:
            raise refused(f"key '{key}' and URI '{uri}' make no namespace: {error}") from None
    if not len(root):
        return None
    etree.indent(root, "  ", level=1)
    root.tail = None
    return etree.tostring(root, encoding="unicode")


def with_namespace(element: etree._Element, key: str, uri: str) -> etree._Element:
    """Copy an element, with the namespace for the element itself."""
    qualified = etree.Element(f"{{{uri}}}{etree.QName(element).localname}", nsmap={key: uri})
    qualified.attrib.update(element.attrib)
    qualified.text = element.text
    qualified.extend([with_own_namespace(child, key, uri) for child in element])
    return qualified


def with_own_namespace(element: etree._Element, key: str, uri: str) -> etree._Element:
    """Copy a child element; one without a namespace gets its parent's."""
    if etree.QName(element).namespace:
        return element
    qualified = with_namespace(element, key, uri)
    qualified.tail = element.tail
    return qualified


def without_namespace(element: etree._Element, uri: str) -> etree._Element:
    """Copy an element without that namespace, children included."""
    name = etree.QName(element)
    qualified = etree.Element(name.localname if name.namespace in (uri, None) else element.tag)
    qualified.attrib.update(element.attrib)
    qualified.text, qualified.tail = element.text, None
    for child in element:
        copy = without_namespace(child, uri)
        copy.tail = child.tail
        qualified.append(copy)
    return qualified


def check_kind(kind: int) -> None:
    """Refuse an unknown virDomainMetadataType.

    Raises:
        VirError: INVALID_ARG.
    """
    if kind not in {*DomainMetadataType}:
        raise refused(f"unknown metadata type '{kind}'")


def refused(detail: str) -> VirError:
    """INVALID_ARG."""
    return VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)
