"""Schema validation of documents, with schema files and without."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from conf.domain import Domain
from conf.errors import ConfError
from conf.network import Network
from conf.schema import SCHEMAS, validate_document

GOOD: Final = """<domain type='qemu'><name>a</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
<metadata><note xmlns='urn:anything' of='anything'/></metadata>
<devices><interface type='user'/></devices></domain>"""
UNKNOWN_ELEMENT: Final = GOOD.replace("<interface", "<bogus/><interface")
UNKNOWN_ATTRIBUTE: Final = GOOD.replace("type='user'", "type='user' foo='1'")
MISPLACED: Final = GOOD.replace("<acpi/>", "<acpi/><tpm model='tpm-crb'/>")
#: A schema for the tests: a network with a name alone.
NETWORK: Final = """<element name='network' xmlns='http://relaxng.org/ns/structure/1.0'>
<element name='name'><text/></element></element>"""


@pytest.fixture(params=["installed", "missing"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return libvirt's schemas, and a folder without any."""
    if request.param == "missing":
        return tmp_path
    if not (SCHEMAS / "domain.rng").is_file():
        pytest.skip("libvirt's schemas are not installed")
    return SCHEMAS


def test_valid_document_passes(folder: Path) -> None:
    validate_document(GOOD, "domain.rng", Domain, folder=folder)


@pytest.mark.parametrize("xml", [UNKNOWN_ELEMENT, UNKNOWN_ATTRIBUTE, MISPLACED])
def test_unknown_elements_and_attributes_are_refused(folder: Path, xml: str) -> None:
    with pytest.raises(ConfError) as refusal:
        validate_document(xml, "domain.rng", Domain, folder=folder)
    assert refusal.value.kind == "xml_invalid_schema"
    first, _, details = refusal.value.message.partition("\n")
    assert first == f"Unable to validate doc against {folder}/domain.rng"
    assert details


def test_without_schema_the_message_names_the_element(tmp_path: Path) -> None:
    with pytest.raises(ConfError, match="Did not expect element bogus in domain/devices"):
        validate_document(UNKNOWN_ELEMENT, "domain.rng", Domain, folder=tmp_path)
    with pytest.raises(ConfError, match="Invalid attribute foo for element domain/devices/interf"):
        validate_document(UNKNOWN_ATTRIBUTE, "domain.rng", Domain, folder=tmp_path)


def test_without_schema_and_model_nothing_is_refused(tmp_path: Path) -> None:
    validate_document("<filter><bogus/></filter>", "nwfilter.rng", "filter", folder=tmp_path)


def test_schema_file_decides_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "network.rng").write_text(NETWORK)
    good = "<network><name>n</name></network>"
    for _ in range(2):  # the second time with the compiled schema
        validate_document(good, "network.rng", Network, folder=tmp_path)
        with pytest.raises(ConfError, match="Unable to validate doc"):
            validate_document(
                good.replace("</name>", "</name><bridge/>"), "network.rng", Network, folder=tmp_path
            )


@pytest.mark.parametrize("content", ["no XML", "<element/>"])
def test_broken_schema_file_is_an_internal_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "network.rng").write_text(content)
    with pytest.raises(ConfError, match="Unable to parse RNG") as refusal:
        validate_document("<network/>", "network.rng", Network, folder=tmp_path)
    assert refusal.value.kind == "internal"


@pytest.mark.parametrize("xml", ["<domain", "<!DOCTYPE a><domain/>", "<network/>"])
def test_what_the_reader_refuses_is_left_to_it(folder: Path, xml: str) -> None:
    validate_document(xml, "domain.rng", Domain, folder=folder)


def test_another_root_than_the_parsers_is_left_to_it(tmp_path: Path) -> None:
    (tmp_path / "nwfilter.rng").write_text(NETWORK)
    validate_document("<bogus/>", "nwfilter.rng", "filter", folder=tmp_path)
    with pytest.raises(ConfError, match="Unable to validate"):
        validate_document("<filter/>", "nwfilter.rng", "filter", folder=tmp_path)
