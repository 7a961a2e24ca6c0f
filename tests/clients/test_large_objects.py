"""Objects as large as the protocol carries them are there after a restart, or were refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from rpc.errors import ErrorCode
from tests.clients.daemon import Daemon
from tests.clients.libvirt_binding import libvirt

MAX_STRING: Final = 4 * 1024 * 1024  # REMOTE_STRING_MAX
ROOM: Final = 8192  # for what the daemon adds to a document
SECRET: Final = "00000000-0000-4000-8000-00000000aaaa"
OS: Final = "<memory>65536</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>"


def filled(before: str, after: str, filler: str = "x", size: int = MAX_STRING - ROOM) -> str:
    """A document of so many bytes."""
    return before + filler * ((size - len(before) - len(after)) // len(filler)) + after


@pytest.fixture(scope="module")
def own() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running


def documents(link: Any) -> dict[str, str]:
    return {
        "domain": link.lookupByName("large").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE),
        "described": link.lookupByName("described").metadata(
            libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG
        ),
        "network": link.networkLookupByName("large").XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE),
        "pool": link.storagePoolLookupByName("large").XMLDesc(0),
        "filter": link.nwfilterLookupByName("large").XMLDesc(0),
        "secret": link.secretLookupByUUIDString(SECRET).XMLDesc(0),
        "value": link.secretLookupByUUIDString(SECRET).value(),
    }


def test_each_object_is_there_after_a_restart(own: Daemon) -> None:
    link = libvirt.open(own.uri)
    link.defineXML(
        filled("<domain type='qemu'><name>large</name><metadata><a:a xmlns:a='urn:a'>",
               f"</a:a></metadata>{OS}</domain>")
    )  # fmt: skip
    described = link.defineXML(f"<domain type='qemu'><name>described</name>{OS}</domain>")
    kind = libvirt.VIR_DOMAIN_METADATA_DESCRIPTION
    text = "z" * (MAX_STRING - ROOM)
    described.setMetadata(kind, text, None, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    link.networkDefineXML(
        filled("<network><name>large</name><metadata><a:a xmlns:a='urn:a'>",
               "</a:a></metadata><bridge name='vvlarge0'/></network>")
    )  # fmt: skip
    link.storagePoolDefineXML(
        filled("<pool type='dir'><name>large</name><target><path>/tmp/", "</path></target></pool>")
    )
    link.nwfilterDefineXML(
        filled("<filter name='large'>", "</filter>", "<rule action='drop' direction='in'/>",
               9000 * len("<rule action='drop' direction='in'/>"))
    )  # fmt: skip
    link.secretDefineXML(
        filled(f"<secret><uuid>{SECRET}</uuid><description>", "</description></secret>")
    )
    link.secretLookupByUUIDString(SECRET).setValue(bytes(range(256)) * 256)  # 64 KiB, its maximum
    before = documents(link)
    link.close()
    own.stop()
    own.start()
    link = libvirt.open(own.uri)
    assert documents(link) == before
    link.close()


def test_what_could_not_be_read_back_is_refused(own: Daemon) -> None:
    link = libvirt.open(own.uri)
    # Each apostrophe becomes six characters.
    document = filled("<domain type='qemu'><name>grows</name><description>",
                      f"</description>{OS}</domain>", "'")  # fmt: skip
    with pytest.raises(libvirt.libvirtError, match="File too large") as refused:
        link.defineXML(document)
    assert refused.value.get_error_code() == ErrorCode.SYSTEM_ERROR
    assert "grows" not in [domain.name() for domain in link.listAllDomains()]
    link.close()


def test_a_document_that_grew_too_large_for_a_reply_is_an_rpc_error(own: Daemon) -> None:
    link = libvirt.open(own.uri)
    document = filled("<domain type='qemu'><name>grown</name><description>",
                      f"</description>{OS}</domain>", size=MAX_STRING - 100)  # fmt: skip
    domain = link.defineXML(document)
    with pytest.raises(libvirt.libvirtError, match="Unable to encode message payload") as refused:
        domain.XMLDesc(0)
    assert refused.value.get_error_code() == ErrorCode.RPC
    domain.undefine()
    assert "unexpected" not in own.log.read_text()
    link.close()
