"""Makes manual pages of docs/: `python -m installer.man_pages DIR`.

Owns: which page is made of which document, and how Markdown is written as man(7) macros. Pure but
for reading docs/.

A document of a command begins with its name and a code block, its synopsis; that of a subject
begins with its title.
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
MANUAL: Final = "virtvisor"


@dataclass(frozen=True, slots=True)
class Page:
    """A manual page."""

    name: str
    section: int
    summary: str  # after the name, without an article
    aliases: tuple[str, ...] = ()  # other names of it in the same section

    @property
    def reference(self) -> str:
        """How other pages name it."""
        return f"{self.name}({self.section})"


#: By document.
PAGES: Final[Mapping[str, Page]] = {
    "libvirtd.md": Page("libvirtd", 8, "virtualization daemon"),
    "virt-ssh-helper.md": Page("virt-ssh-helper", 8, "connects ssh clients to libvirtd"),
    "virtvisorctl.md": Page("virtvisorctl", 1, "query a running libvirtd"),
    "configuration.md": Page(
        "libvirtd.conf", 5, "settings of libvirtd", ("qemu.conf", "virtlogd.conf")
    ),
    "access.md": Page("virtvisor-access", 7, "who may do what: polkit and roles"),
    "backups.md": Page("virtvisor-backups", 7, "backups of running guests"),
    "checkpoints.md": Page("virtvisor-checkpoints", 7, "checkpoints of guests"),
    "containers.md": Page("virtvisor-containers", 7, "Linux containers"),
    "filters.md": Page("virtvisor-filters", 7, "filters of guests' traffic"),
    "guest-limits.md": Page("virtvisor-guest-limits", 7, "what a guest may take of the host"),
    "installation.md": Page("virtvisor-installation", 7, "installation, systemd, who may connect"),
    "networks.md": Page("virtvisor-networks", 7, "virtual networks"),
    "remote.md": Page("virtvisor-remote", 7, "clients over ssh, TLS and TCP; SASL, polkit, mDNS"),
    "saved-guests.md": Page("virtvisor-saved-guests", 7, "saved guests and core dumps"),
    "security.md": Page("virtvisor-security", 7, "what is defended against what"),
    "snapshots.md": Page("virtvisor-snapshots", 7, "snapshots and block jobs"),
    "storage.md": Page("virtvisor-storage", 7, "storage pools and volumes"),
    "takeover.md": Page("virtvisor-takeover", 7, "from libvirt's daemon to this one, and back"),
}
BULLET: Final = "\\[bu]"
#: What man(7) would take for something else, or print as a typographer's character.
SPECIAL: Final = {
    "\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha"
}  # fmt: skip
SYNOPSIS_SECTIONS: Final = (1, 8)


def man_pages(version: str) -> dict[str, bytes]:
    """Make every page, compressed as Debian has them, by its path below share/man."""
    pages: dict[str, bytes] = {}
    for document, page in PAGES.items():
        text = man_page(page, (DOCS / document).read_text(encoding="utf-8"), version)
        pages[path_of(page.name, page.section)] = _compressed(text)
        for alias in page.aliases:
            link = f".so man{page.section}/{page.name}.{page.section}\n"
            pages[path_of(alias, page.section)] = _compressed(link)
    return pages


def path_of(name: str, section: int) -> str:
    """Return a page's path below share/man."""
    return f"man{section}/{name}.{section}.gz"


def _compressed(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)  # the same bytes each time


def man_page(page: Page, document: str, version: str) -> str:
    """Write a document as a manual page."""
    root = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(document))
    lines = [
        f'.TH "{page.name.upper()}" {page.section} "" "{MANUAL} {version}" "{MANUAL}"',
        ".nh",  # no hyphens in names of files and options
        ".ad l",
        ".SH NAME",
        f"{escaped(page.name)} \\- {escaped(page.summary)}",
    ]
    nodes = [node for node in root.children if node.type != "heading" or node.tag != "h1"]
    if page.section in SYNOPSIS_SECTIONS and nodes and nodes[0].type == "code_block":
        lines += [".SH SYNOPSIS", *_block(nodes.pop(0))]
    if nodes and nodes[0].type != "heading":
        lines.append(".SH DESCRIPTION")
    for node in nodes:
        lines += _block(node)
    return "\n".join(lines) + "\n"


def _block(node: SyntaxTreeNode) -> Iterator[str]:
    """Write a paragraph, a list, a table."""
    match node.type:
        case "heading":
            macro = ".SH" if node.tag == "h2" else ".SS"
            title = _inline(node)
            yield f'{macro} "{title.upper() if macro == ".SH" and "(" not in title else title}"'
        case "paragraph":
            yield ".PP"
            yield _line(_inline(node))
        case "code_block" | "fence":
            yield from (".PP", ".RS 4", ".nf")
            yield from (_line(escaped(line)) for line in node.content.rstrip("\n").split("\n"))
            yield from (".fi", ".RE")
        case "bullet_list" | "ordered_list":
            for number, item in enumerate(node.children, start=1):
                mark = BULLET if node.type == "bullet_list" else f"{number}."
                yield f".IP {mark} 4"
                yield from _item(item)
        case "blockquote":
            yield ".RS 4"
            for child in node.children:
                yield from _block(child)
            yield ".RE"
        case "table":
            yield from _table(node)
        case other:
            raise ValueError(f"manual pages have no form for Markdown's {other}")


def _item(item: SyntaxTreeNode) -> Iterator[str]:
    """Write an item of a list: its first paragraph stands beside the mark."""
    for position, child in enumerate(item.children):
        if child.type == "paragraph" and position == 0:
            yield _line(_inline(child))
        elif child.type == "paragraph":
            yield from (".IP", _line(_inline(child)))
        else:
            yield ".RS 4"
            yield from _block(child)
            yield ".RE"


def _table(table: SyntaxTreeNode) -> Iterator[str]:
    """Write a table as a list: the first cell of a row, then the others with their column's name.

    A table as such would be wider than most terminals.
    """
    rows = [[_inline(cell) for cell in row.children] for row in _rows(table)]
    header, *body = rows
    for first, *cells in body:
        yield from (".TP", _line(first or "\\ "))
        filled = [(name, cell) for name, cell in zip(header[1:], cells, strict=False) if cell]
        for position, (name, cell) in enumerate(filled):
            if position:
                yield ".br"
            yield _line(cell if len(header) == 2 or not name else f"{name}: {cell}")
        if not filled:
            yield "\\ "


def _rows(table: SyntaxTreeNode) -> Iterator[SyntaxTreeNode]:
    for part in table.children:  # thead, tbody
        yield from part.children


def _inline(node: SyntaxTreeNode) -> str:
    """Write the text of a block in one line."""
    inline = node.children[0].token if node.children else None
    tokens: Sequence[Token] = (inline.children or []) if inline is not None else []
    parts, links = [], []
    for token in tokens:
        match token.type:
            case "text":
                parts.append(escaped(token.content))
            case "code_inline":
                parts.append(f"\\fB{escaped(token.content)}\\fR")
            case "softbreak" | "hardbreak":
                parts.append(" ")
            case "strong_open":
                parts.append("\\fB")
            case "em_open":
                parts.append("\\fI")
            case "strong_close" | "em_close":
                parts.append("\\fR")
            case "link_open":
                links.append((len(parts), str(token.attrs["href"])))
            case "link_close":
                start, target = links.pop()
                parts[start:] = [_link("".join(parts[start:]), target)]
            case other:
                raise ValueError(f"manual pages have no form for Markdown's {other}")
    return "".join(parts)


def _link(text: str, target: str) -> str:
    """Write a link: to another page by its name."""
    document = target.partition("#")[0]
    if page := PAGES.get(document):
        reference = f"\\fB{escaped(page.name)}\\fR({page.section})"
        return reference if text == escaped(document) else f"{text} ({reference})"
    if target.startswith("http"):
        return f"{text} <{escaped(target)}>"
    return text


def escaped(text: str) -> str:
    """Write text so that it is printed as it is."""
    return re.sub(r"[\\\-'`~^]", lambda found: SPECIAL[found[0]], text)


def _line(text: str) -> str:
    """Write a line of text: one that begins as a macro does is none."""
    return f"\\&{text}" if text.startswith((".", "'")) else text


def main(words: Sequence[str]) -> int:
    """Write the pages below a folder; the exit status."""
    for path, data in man_pages("").items():
        place = Path(words[0]) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
