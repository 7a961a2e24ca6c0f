"""The VALIDATE flags of definitions, through the stock binding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.clients.daemon import Daemon
from tests.clients.libvirt_binding import libvirt

DOMAIN: Final = """<domain type='qemu'><name>validated</name><memory unit='MiB'>64</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>{}</domain>"""
NETWORK: Final = "<network><name>validated</name>{}</network>"
POOL: Final = (
    "<pool type='dir'><name>validated</name><target><path>/tmp/validated</path></target>{}</pool>"
)
SECRET: Final = "<secret ephemeral='yes' private='no'>{}</secret>"
POOL_CREATE_VALIDATE: Final = 8  # not among the constants of the binding
FILTER: Final = "<filter name='validated'>{}</filter>"


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[Any]:
    link = libvirt.open(daemon.uri)
    yield link
    link.close()


@pytest.mark.parametrize(
    ("define", "xml"),
    [
        (lambda link, xml, flags: link.defineXMLFlags(xml, flags), DOMAIN),
        (lambda link, xml, flags: link.networkDefineXMLFlags(xml, flags), NETWORK),
        (lambda link, xml, flags: link.storagePoolDefineXML(xml, flags), POOL),
        (lambda link, xml, flags: link.secretDefineXML(xml, flags), SECRET),
        (lambda link, xml, flags: link.nwfilterDefineXMLFlags(xml, flags), FILTER),
    ],
    ids=["domain", "network", "pool", "secret", "filter"],
)
def test_definition_with_the_flag_refuses_an_unknown_element(
    connection: Any, define: Callable[[Any, str, int], Any], xml: str
) -> None:
    with pytest.raises(libvirt.libvirtError) as refused:
        define(connection, xml.format("<bogus/>"), 1)
    if xml is not FILTER:  # without an installed schema its parser refuses it as XML_ERROR
        assert refused.value.get_error_code() == libvirt.VIR_ERR_XML_INVALID_SCHEMA
        assert refused.value.get_error_domain() == libvirt.VIR_FROM_XML
    defined = define(connection, xml.format(""), 1)
    defined.undefine()


def test_creation_with_the_flag_refuses_an_unknown_element(connection: Any) -> None:
    creations: tuple[Callable[[], Any], ...] = (
        lambda: connection.createXML(DOMAIN.format("<bogus/>"), libvirt.VIR_DOMAIN_START_VALIDATE),
        lambda: connection.networkCreateXMLFlags(NETWORK.format("<bogus/>"), 1),
    )
    for create in creations:
        with pytest.raises(libvirt.libvirtError) as refused:
            create()
        assert refused.value.get_error_code() == libvirt.VIR_ERR_XML_INVALID_SCHEMA


def test_creation_of_a_pool_has_no_such_flag(connection: Any) -> None:
    with pytest.raises(libvirt.libvirtError) as refused:
        connection.storagePoolCreateXML(POOL.format("<bogus/>"), POOL_CREATE_VALIDATE)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG


def test_definition_without_the_flag_ignores_an_unknown_element(connection: Any) -> None:
    connection.defineXML(DOMAIN.format("<bogus/>")).undefine()
