"""A domain inside a snapshot or a checkpoint, and the parts of their documents that both have.

Owns: those. The domain is kept as text, because most of them are only passed on.
Source: libvirt 9.0, virDomainMomentDef.
"""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from conf.domain import Domain, format_domain, parse_domain


class NestedDomain:
    """A domain inside a moment: its XML with passwords, parsed when its model is needed."""

    def __init__(self, xml: str, model: Domain | None = None) -> None:
        """Wrap an element as it is in the document: indented by one level, ending with a line end.

        Args:
            xml: <domain> or <inactiveDomain>.
            model: what it says, if that is known.
        """
        self.xml = xml
        self._model = model

    @staticmethod
    def of(domain: Domain, tag: str = "domain") -> NestedDomain:
        """Write a domain as a part of another document."""
        return NestedDomain(format_domain(domain, secure=True, level=1, tag=tag), domain)

    @staticmethod
    def of_text(text: str, domain: Domain, tag: str = "domain") -> NestedDomain:
        """Take a domain's text, where that is quicker than to write it again.

        Args:
            text: what `format_domain` has made of it, with passwords.
            domain: the same.
            tag: the element's name in the document.
        """
        nested = indented(text, tag)
        return NestedDomain(nested, domain) if nested else NestedDomain.of(domain, tag)

    @property
    def model(self) -> Domain:
        """The domain; it is shared and must not be changed.

        Raises:
            ConfError: the text is none, which only a foreign file has.
        """
        if self._model is None:
            self._model = parse_domain(as_document(self.xml))
        return self._model

    def copy(self) -> Domain:
        """Return a domain that the caller may change."""
        return parse_domain(as_document(self.xml))

    def public_xml(self, tag: str = "domain") -> str:
        """Return the element without passwords."""
        if "passw" not in self.xml:
            return self.xml
        return format_domain(self.model, level=1, tag=tag)


def indented(text: str, tag: str) -> str | None:
    """Return a formatted <domain> as an element one level deeper.

    Returns:
        None: text in it may have several lines, whose beginnings are its own.
    """
    lines = text.split("\n")
    if "<metadata" in text or lines.pop() or lines[-1] != "</domain>":
        return None
    # Both characters are escaped in text and in attributes: only whole elements pass.
    if not all(line.endswith(">") and line.lstrip(" ").startswith("<") for line in lines):
        return None
    lines[0] = f"<{tag}{lines[0].removeprefix('<domain')}"
    lines[-1] = f"</{tag}>"
    return "  " + "\n  ".join(lines) + "\n"


def as_document(nested: str) -> str:
    """Return the document of a nested <domain> or <inactiveDomain>."""
    text_ = nested.strip()
    if not text_.startswith("<inactiveDomain"):
        return text_
    inner = text_.removeprefix("<inactiveDomain").removesuffix("</inactiveDomain>")
    return f"<domain{inner}</domain>"


def nested_domain(node: etree._Element, tag: str) -> NestedDomain:
    """Read a <domain> or <inactiveDomain>.

    Raises:
        ConfError: it is no domain.
    """
    document = as_document(etree.tostring(node, encoding="unicode", with_tail=False))
    domain = parse_domain(document)
    return NestedDomain.of(domain, tag)


def cut_domain(xml: str, node: etree._Element, tag: str) -> NestedDomain:
    """Cut a domain out of a file in libvirt's layout; another layout is parsed and written anew."""
    start = xml.find(f"\n  <{tag} ")
    end = xml.find(f"\n  </{tag}>\n", start)
    if 0 <= start < end:
        return NestedDomain(xml[start + 1 : end + len(f"\n  </{tag}>\n")])
    return nested_domain(node, tag)


def string(root: etree._Element, path: str) -> str | None:
    """Return the text of the first such element; None for none, or an empty one."""
    node = root.find(path)
    found = "".join(str(part) for part in node.itertext()) if node is not None else ""
    return found or None


def inside(root: etree._Element, path: str) -> Iterable[etree._Element]:
    """List the elements inside all elements of a path."""
    return (inner for outer in root.iterfind(path) for inner in outer if isinstance(inner.tag, str))
