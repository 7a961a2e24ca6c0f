"""Documents of domains: reading with what is refused by the document alone, and writing.

Owns: `parse_domain`, `format_domain`.
May not touch: what an emulator makes of it (`conf.domain.defaults`), the host.
"""

from __future__ import annotations

from conf.domain.model import Domain
from conf.domain.validate.parsed_domain import check_parsed
from conf.mapper import NAMESPACES, Mode, parse, write


def parse_domain(xml: bytes | str) -> Domain:
    """Read a domain's document; nothing is completed.

    Raises:
        ConfError: it is none, or contradicts itself; the kind is libvirt's code.
    """
    domain = parse(Domain, xml)
    check_parsed(domain)
    return domain


def format_domain(domain: Domain, *, live: bool = False, secure: bool = False) -> str:
    """Write a domain's document.

    Args:
        domain: what to write.
        live: with the id, aliases, terminals and ports of the running guest.
        secure: with passwords.
    """
    document = write(domain, Mode(live=live, secure=secure))
    if domain.qemu_commandline or domain.qemu_capabilities or domain.qemu_override:
        document = _declare_namespace(document, domain.type, "qemu")
    if domain.lxc_namespace:
        document = _declare_namespace(document, domain.type, "lxc")
    return document


def _declare_namespace(document: str, kind: str, prefix: str) -> str:
    """Declare the namespace of a driver's own elements on the root element."""
    start = f"<domain type='{kind}'"
    return document.replace(start, f"{start} xmlns:{prefix}='{NAMESPACES[prefix]}'", 1)
