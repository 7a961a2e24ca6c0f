"""Manual pages of Markdown: what a reader sees, and that no document has what they cannot show."""

from __future__ import annotations

import gzip
import re

import pytest

from installer.man_pages import DOCS, PAGES, Page, man_page, man_pages

COMMAND = Page("tool", 8, "does it")
SUBJECT = Page("virtvisor-things", 7, "of things")


def body(document: str, page: Page = SUBJECT) -> list[str]:
    """The lines of a page behind its name."""
    lines = man_page(page, document, "1").splitlines()
    return lines[5:]


def test_a_command_has_its_synopsis_and_a_description() -> None:
    lines = body("# tool\n\n    tool [-x]\n\nDoes it.\n\n## Files\n\n`/etc/x`\n", COMMAND)
    assert lines == [
        *(".SH SYNOPSIS", ".PP", ".RS 4", ".nf", r"tool [\-x]", ".fi", ".RE"),
        *(".SH DESCRIPTION", ".PP", "Does it."),
        *('.SH "FILES"', ".PP", r"\fB/etc/x\fR"),
    ]


def test_a_table_becomes_a_list_with_the_names_of_its_columns() -> None:
    two = body("| option | meaning |\n| --- | --- |\n| `-x` | Do it. |\n")
    assert two[1:] == [".TP", r"\fB\-x\fR", "Do it."]
    three = body(
        "| key | default | effect |\n| --- | --- | --- |\n| `k` | 1 | much |\n| `l` | | |\n"
    )
    assert three[1:] == [
        *(".TP", r"\fBk\fR", "default: 1", ".br", "effect: much", ".TP", r"\fBl\fR", r"\ "),
    ]


def test_lists_and_emphasis_keep_their_form() -> None:
    lines = body("- **one** and *two*\n- three\n\n1. first\n")
    assert lines[1:] == [
        *(r".IP \[bu] 4", r"\fBone\fR and \fItwo\fR", r".IP \[bu] 4", "three", ".IP 1. 4", "first"),
    ]


def test_text_that_looks_like_a_macro_is_none() -> None:
    assert body("    .so /etc/passwd\n    'x\n") == [
        *(".SH DESCRIPTION", ".PP", ".RS 4", ".nf", r"\&.so /etc/passwd", r"\(aqx", ".fi", ".RE")
    ]
    assert body(".so ~`a\\b`")[-1] == r"\&.so \(ti\fBa\eb\fR"


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[remote.md](remote.md)", r"\fBvirtvisor\-remote\fR(7)"),
        ("[how](libvirtd.md#files)", r"how (\fBlibvirtd\fR(8))"),
        ("[why](decisions/bus.md)", "why"),
        ("[site](https://example.org)", "site <https://example.org>"),
    ],
)
def test_a_link_names_the_page_that_it_leads_to(link: str, shown: str) -> None:
    assert body(link)[-1] == shown


def test_every_page_is_made_and_refers_to_none_that_is_not() -> None:
    pages = man_pages("1")
    assert {"man8/libvirtd.8.gz", "man1/virtvisorctl.1.gz", "man5/qemu.conf.5.gz"} <= set(pages)
    names = {re.sub(r".*/(.+)\.(\d)\.gz", r"\1(\2)", path) for path in pages}
    for data in pages.values():
        text = gzip.decompress(data).decode()
        references = re.findall(r"\\fB([a-z\\.-]+)\\fR(\(\d\))", text)
        assert {name.replace("\\", "") + section for name, section in references} <= names
    assert set(PAGES) <= {path.name for path in DOCS.glob("*.md")}
