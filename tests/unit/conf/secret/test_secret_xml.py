"""Documents of secrets: refused and written as by libvirt 9.0."""

from __future__ import annotations

import pytest

from conf.errors import ConfError
from conf.secret import UsageType, format_secret, parse_secret

UUID = "22e1353d-c27e-4d6d-bf15-465053e6ba0b"


@pytest.mark.parametrize(
    ("document", "kind", "words"),
    [
        ("<domain/>", "xml", "expecting root element of 'secret'"),
        ("garbage", "xml_detail", "Start tag expected"),
        ("<secret ephemeral='maybe'/>", "xml", "invalid value of 'ephemeral'"),
        ("<secret private='x'/>", "xml", "invalid value of 'private'"),
        ("<secret><usage type=''/></secret>", "xml", "unknown secret usage type"),
        ("<secret><uuid>x</uuid></secret>", "internal", "malformed uuid element"),
        ("<secret><usage/></secret>", "xml", "unknown secret usage type"),
        ("<secret><usage type='zz'/></secret>", "config_unsupported", "usage type zz"),
        ("<secret><usage type='volume'/></secret>", "internal", "volume path is missing"),
        ("<secret><usage type='ceph'/></secret>", "internal", "name is missing"),
        ("<secret><usage type='iscsi'/></secret>", "internal", "target is missing"),
        ("<secret><usage type='tls'><volume>v</volume></usage></secret>", "internal", "missing"),
        ("<secret><usage type='vtpm'><name/></usage></secret>", "internal", "missing"),
    ],
)
def test_a_document_that_cannot_be_is_refused(document: str, kind: str, words: str) -> None:
    with pytest.raises(ConfError) as refused:
        parse_secret(document)
    assert refused.value.kind == kind
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("usage", "tag"),
    [
        ("volume", "volume"),
        ("ceph", "name"),
        ("iscsi", "target"),
        ("tls", "name"),
        ("vtpm", "name"),
    ],
)
def test_each_usage_names_its_object_in_its_own_element(usage: str, tag: str) -> None:
    inside = "".join(f"<{name}>for-{name}</{name}>" for name in ("volume", "name", "target"))
    secret = parse_secret(f"<secret><usage type='{usage}'>{inside}</usage></secret>")
    assert (secret.usage_type, secret.usage_id) == (UsageType(usage), f"for-{tag}")
    written = format_secret(secret)
    assert f"<usage type='{usage}'>\n    <{tag}>for-{tag}</{tag}>\n  </usage>" in written
    assert format_secret(parse_secret(written)) == written


def test_a_secret_for_nothing_in_particular_says_so_by_saying_nothing() -> None:
    secret = parse_secret("<secret><usage type='none'/></secret>", make_uuid=lambda: UUID)
    assert (secret.usage_type, secret.usage_id) == (UsageType.NONE, "")
    assert format_secret(secret) == (
        f"<secret ephemeral='no' private='no'>\n  <uuid>{UUID}</uuid>\n</secret>\n"
    )


def test_usages_have_the_numbers_of_the_protocol() -> None:
    assert [usage.number for usage in UsageType] == [0, 1, 2, 3, 4, 5]
    assert UsageType.VTPM.number == 5


def test_empty_attributes_are_absent() -> None:
    secret = parse_secret("<secret private='' ephemeral=''/>")
    assert (secret.private, secret.ephemeral) == (False, False)
