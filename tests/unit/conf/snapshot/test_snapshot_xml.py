"""Snapshots are kept in files as libvirt's, and taken from them again."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.domain_xml import format_domain
from conf.errors import ConfError
from conf.moment.nested_domain import NestedDomain, as_document
from conf.snapshot.model import Snapshot, SnapshotMemory
from conf.snapshot.snapshot_xml import (
    format_snapshot,
    format_stored,
    parse_snapshot,
    parse_stored,
)

UUID = "00000000-0000-4000-8000-000000000001"
DOMAIN = f"""<domain type='kvm'><name>web</name><uuid>{UUID}</uuid><title>a &lt; b</title>
<memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices>
<graphics type='vnc' passwd='secret'/></devices></domain>"""


def made() -> Snapshot:
    """A snapshot of a running guest whose definition is another."""
    snapshot = parse_snapshot("<domainsnapshot><name>one</name></domainsnapshot>")
    snapshot.state, snapshot.creation_time = "running", 1000
    snapshot.memory = SnapshotMemory(snapshot="internal")
    snapshot.domain = NestedDomain.of(parse_domain(DOMAIN))
    snapshot.inactive_domain = NestedDomain.of(
        parse_domain(DOMAIN.replace("a &lt; b", "later")), "inactiveDomain"
    )
    snapshot.cookie = "  <cookie>\n    <slirpHelper/>\n  </cookie>\n"
    return snapshot


def test_a_file_gives_the_snapshot_again_and_whether_it_is_current() -> None:
    text = format_stored(made(), uuid=UUID, is_current=True)
    read, is_current = parse_stored(text)
    assert is_current
    assert format_stored(read, uuid=UUID, is_current=True) == text
    assert not parse_stored(text.replace("<active>1", "<active>0"))[1]
    assert read.domain is not None
    assert read.inactive_domain is not None
    assert (read.domain.model.title, read.inactive_domain.model.title) == ("a < b", "later")


def test_a_file_says_that_deleting_was_begun_and_clients_do_not_see_it() -> None:
    snapshot = made()
    snapshot.is_deleted = True
    read, is_current = parse_stored(format_stored(snapshot, uuid=UUID, is_current=False))
    assert read.is_deleted
    assert not is_current
    assert format_snapshot(read, uuid=UUID) == format_snapshot(made(), uuid=UUID)
    assert not parse_stored(format_stored(made(), uuid=UUID, is_current=False))[0].is_deleted


def test_a_file_in_another_layout_is_read_too() -> None:
    text = format_stored(made(), uuid=UUID, is_current=False)
    flat = text.replace("\n  <domain ", "\n<domain ").replace("\n  </domain>", "\n</domain>")
    read, _ = parse_stored(flat)
    assert format_stored(read, uuid=UUID, is_current=False) == text


def test_passwords_are_shown_on_request_alone() -> None:
    shown = format_snapshot(made(), uuid=UUID)
    assert "secret" not in shown
    assert format_snapshot(made(), uuid=UUID, secure=True).count("passwd='secret'") == 2


@pytest.mark.parametrize("broken", ["", "<domainsnapshot/>", "<x/>"])
def test_a_damaged_file_is_refused(broken: str) -> None:
    with pytest.raises(ConfError):
        parse_stored(broken)


def test_a_nested_domain_is_a_document_of_its_own() -> None:
    domain = parse_domain(DOMAIN)
    for tag in ("domain", "inactiveDomain"):
        nested = NestedDomain.of(domain, tag)
        assert nested.xml.startswith(f"  <{tag} type='kvm'>")
        again = parse_domain(as_document(nested.xml))
        assert format_domain(again, secure=True) == format_domain(domain, secure=True)
        assert "secret" not in NestedDomain(nested.xml).public_xml(tag)


@pytest.mark.parametrize(
    ("memory", "offline", "message"),
    [
        ("<memory snapshot='manual'/>", False, "'manual' memory snapshot mode not supported"),
        ("<memory snapshot='no' file='/a'/>", False, "memory filename '/a' requires external"),
        ("<memory snapshot='external'/>", False, "external memory snapshots require a filename"),
        ("<memory snapshot='internal'/>", True, "memory state cannot be saved with offline"),
        ("<memory file='a'/>", False, "memory snapshot file path (a) must be absolute"),
    ],
)
def test_memory_that_cannot_be_kept_so_is_refused(memory: str, offline: bool, message: str) -> None:
    xml = f"<domainsnapshot><name>x</name>{memory}</domainsnapshot>"
    with pytest.raises(ConfError) as refused:
        parse_snapshot(xml, offline=offline)
    assert (refused.value.kind, refused.value.message[: len(message)]) == ("xml", message)
