"""roles.conf: what its lines mean, and that a mistake is named with its line."""

from __future__ import annotations

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from rpc.values import Domain, StorageVol
from supervisor.access.access_object import CONNECTION, AccessObject, describe
from supervisor.access.roles import Roles, parse_roles
from supervisor.messages.calls import Identity

USERS: Final = {"alice": 1000}
GROUPS: Final = {"web": 50}
ALICE: Final = Identity(uid=1000, gid=100, pid=7)
WEB: Final = describe(Domain("web-1", bytes(range(16)), -1))
UUID: Final = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def parsed(text: str) -> Roles:
    return parse_roles(text.encode(), "roles.conf", USERS.__getitem__, GROUPS.__getitem__)


def decided(
    text: str,
    permission: str,
    obj: AccessObject = WEB,
    identity: Identity = ALICE,
    driver: str = "QEMU",
) -> int:
    """The line that allows, the negative of one that denies, 0 for none."""
    found = parsed(text).decide(identity, permission, obj, driver)
    return 0 if found is None else found[1].line * (1 if found[1].allows else -1)


@pytest.mark.parametrize(
    ("member", "identity"),
    [
        ("any", Identity()),
        ("user:alice", ALICE),
        ("uid:1000", ALICE),
        ("gid:100", ALICE),
        ("group:web", Identity(uid=1, gid=1, groups=(7, 50))),
        ("sasl:*@EXAMPLE.ORG", Identity(sasl_name="bob@EXAMPLE.ORG")),
        ("'dn:CN=bob,O=Big Company'", Identity(tls_dn="CN=bob,O=Big Company")),
    ],
)
def test_who_has_a_role(member: str, identity: Identity) -> None:
    text = f"role r\nwho uid:4 {member}\nallow domain.start\n"
    assert decided(text, "domain.start", identity=identity) == 3
    assert decided(text, "domain.start", identity=Identity(uid=9)) == (3 if member == "any" else 0)


def test_a_client_without_a_name_is_in_no_pattern_of_names() -> None:
    text = "role r\nwho sasl:* dn:*\nallow domain.*\n"
    assert decided(text, "domain.start", identity=ALICE) == 0


def test_the_first_line_of_the_file_that_is_for_the_client_and_the_object_decides() -> None:
    text = (
        "role a # the first\n"
        "  who user:alice\n"
        "  deny domain.delete domain.reset name:web-*\n"
        "  allow domain.*\n"
        "role b\n"
        "  who user:alice\n"
        "  allow domain.delete\n"
    )
    assert decided(text, "domain.delete") == -3
    assert decided(text, "domain.start") == 4
    assert decided(text, "domain.delete", describe(Domain("db", bytes(16), -1))) == 4
    assert decided(text, "connect.read", CONNECTION) == 0


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ("name:web-?", True),
        ("name:db name:web*", True),
        ("name:db", False),
        (f"uuid:{UUID.upper()}", True),
        (f"name:web* uuid:{UUID}", True),
        (f"name:db uuid:{UUID}", False),
        ("driver:LXC", False),
        ("driver:QEMU", True),
        ("pool:*", False),
        ("metadata:urn:team=w*b", True),
        ("metadata:urn:other=*", False),
    ],
)
def test_conditions_of_a_type_are_alternatives_and_types_add_up(
    conditions: str, holds: bool
) -> None:
    obj = AccessObject(type="domain", name="web-1", uuid=UUID, metadata=(("urn:team", "web"),))
    text = f"role r\nwho any\nallow domain.* {conditions}\n"
    assert (decided(text, "domain.read", obj) == 3) == holds


def test_a_volume_is_found_by_its_pool_too() -> None:
    text = "role r\nwho any\nallow storage_vol.* pool:images name:*.qcow2\n"
    for volume, line in (
        (StorageVol("images", "a.qcow2", "k"), 3),
        (StorageVol("images", "a.raw", "k"), 0),
        (StorageVol("isos", "a.qcow2", "k"), 0),
    ):
        assert decided(text, "storage_vol.read", describe(volume)) == line


def test_a_rule_with_a_name_is_never_for_the_connection() -> None:
    assert decided("role r\nwho any\nallow *.* name:*\n", "connect.write", CONNECTION) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("allow domain.*", "1: 'allow' stands before the first role"),
        ("role", "1: a role has one name, of letters, digits and . _ -"),
        ("role a b", "1: a role has one name, of letters, digits and . _ -"),
        ("role a\nwho any\nrole a", "3: there are two roles 'a'"),
        ("role a\nallow domain.*\n", "2: role 'a' does not say who has it"),
        ("role a\nallow domain.*\nrole b\n", "3: role 'a' does not say who has it"),
        ("role a\nwho", "2: 'who' says nothing"),
        ("role a\nwho bob", "2: 'bob' is nobody: say any, user, uid, group, gid, sasl, dn:"),
        ("role a\nwho uid:x", "2: 'uid:x' is no number"),
        ("role a\nwho user:bob", "2: the host has no user 'bob'"),
        ("role a\nwho group:bob", "2: the host has no group 'bob'"),
        ("role a\nwho any\nallow domain.strat", "3: there is no permission 'domain.strat'"),
        ("role a\nwho any\nallow domain", "3: there is no permission 'domain'"),
        ("role a\nwho any\nallow name:x", "3: the rule names no permission"),
        ("role a\nwho any\nallow domain.* uuid:7", "3: '7' is no UUID"),
        ("role a\nwho any\nallow domain.* uid:7", "3: 'uid:7' is no condition: say name,"),
        ("role a\nwho any\nallow domain.* metadata:x", "3: 'metadata:x' is not metadata:NAMESP"),
        ("role a\nwho any\ngrant x", "3: 'grant' is none of role, who, allow, deny"),
        ("role a\nwho 'any", "2: No closing quotation"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfError, match=f"^roles.conf:{re.escape(message)}"):
        parsed(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfError, match="not UTF-8"):
        parse_roles(b"role \xff", "roles.conf", USERS.__getitem__, GROUPS.__getitem__)


LINES = st.sampled_from(
    (
        *("role a", "role b", "who any", "who uid:1 gid:x", "allow domain.*", "deny *.* name:*"),
        *("allow", "allow domain.read metadata:a=b=c", "who 'dn:x", "# nothing", "", "\x00"),
    )
)


@given(st.one_of(st.binary(max_size=200), st.lists(LINES).map(lambda ls: "\n".join(ls).encode())))
def test_any_file_is_read_or_refused_with_its_line(data: bytes) -> None:
    try:
        roles = parse_roles(data, "roles.conf", USERS.__getitem__, GROUPS.__getitem__)
    except ConfError as error:
        place = str(error).partition(":")[0]
    else:
        place = roles.origin
        roles.decide(ALICE, "domain.read", WEB, "QEMU")
    assert place == "roles.conf"


def test_the_metadata_that_rules_look_at_is_known_beforehand() -> None:
    text = "role r\nwho any\nallow domain.* metadata:urn:a=1\nallow domain.read metadata:urn:b=1\n"
    assert parsed(text).metadata_uris == ("urn:a", "urn:b")
