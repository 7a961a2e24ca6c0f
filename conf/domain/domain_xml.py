"""<domain>: parsing, with the checks that need the XML alone, and formatting.

Owns: `parse_domain`, `read_domain`, `format_domain`, `reformat_domain`,
`LiveDomainWriter`.
May not touch: what an emulator makes of it (`conf.domain.defaults`), the host.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final

from lxml import etree

from conf.domain.model import Domain, DomainIdentity
from conf.domain.validate.parsed_domain import check_parsed
from conf.errors import ConfError
from conf.mapper import NAMESPACES, Mode, join_parts, parse_root, read, write, write_parts

LIVE: Final = Mode(live=True, secure=True)
STORED: Final = Mode(secure=True)


def parse_domain(xml: bytes | str) -> Domain:
    """Parse a domain's XML; no defaults are filled in.

    Raises:
        ConfError: it is none, or contradicts itself; the kind is libvirt's code.
    """
    return read_domain(parse_root(Domain, xml))


def read_domain(root: etree._Element) -> Domain:
    """Read a domain of its root element; as `parse_domain`."""
    try:
        domain = read(Domain, root)
    except ConfError:
        read(DomainIdentity, root)  # its errors come before all others
        raise
    if not (domain.type and domain.name and domain.os and domain.os.type and domain.os.type.name):
        read(DomainIdentity, root)  # raises, unless a boot loader stands for the type
    check_parsed(domain)
    return domain


def format_domain(
    domain: Domain,
    *,
    live: bool = False,
    secure: bool = False,
    level: int = 0,
    tag: str = "domain",
) -> str:
    """Format a domain's XML.

    Args:
        domain: what to write.
        live: with the id, aliases, terminals and ports of the running guest.
        secure: with passwords.
        level: how deep it is in a document around it.
        tag: the element's name in that document.
    """
    text = write(domain, Mode(live=live, secure=secure), level=level, tag=tag)
    return _declare_namespaces(text, domain, tag)


class LiveDomainWriter:
    """Formats the live XML, with passwords, of one running guest each time that it has changed."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self._parts: list[str] = []

    def format(self, changed: Set[str] | None = None) -> str:
        """Format the XML, as `format_domain` does.

        Args:
            changed: the fields of `Domain` that may have changed since the last time; None: any.
        """
        before = self._parts if changed is not None else []
        text, self._parts = _reformat(self.domain, LIVE, before, changed or frozenset())
        return text


def reformat_domain(
    domain: Domain, before: Sequence[str], changed: Set[str]
) -> tuple[str, list[str]]:
    """Format a definition, with passwords, as `format_domain` does.

    Args:
        domain: the definition.
        before: the parts of the one that it is an edited copy of; (): they are not known.
        changed: the fields of `Domain` that were edited.

    Returns:
        The XML, and its parts for the next time.
    """
    return _reformat(domain, STORED, before, changed)


def _reformat(
    domain: Domain, mode: Mode, before: Sequence[str], changed: Set[str]
) -> tuple[str, list[str]]:
    parts = write_parts(domain, mode, before, changed)
    return _declare_namespaces(join_parts(domain, mode, parts), domain, "domain"), parts


def _declare_namespaces(text: str, domain: Domain, tag: str) -> str:
    if (
        domain.qemu_commandline
        or domain.qemu_capabilities
        or domain.qemu_override
        or (domain.qemu_deprecation and domain.qemu_deprecation.behavior)
    ):
        text = _declare_namespace(text, tag, domain.type, "qemu")
    if domain.lxc_namespace:
        text = _declare_namespace(text, tag, domain.type, "lxc")
    return text


def _declare_namespace(text: str, tag: str, kind: str, prefix: str) -> str:
    """Declare the namespace of a driver's own elements on the root element."""
    start = f"<{tag} type='{kind}'"
    return text.replace(start, f"{start} xmlns:{prefix}='{NAMESPACES[prefix]}'", 1)
