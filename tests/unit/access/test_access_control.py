"""How drivers and identities combine, what polkit is asked, and which documents name what."""

from __future__ import annotations

from typing import Any

import pytest

from rpc.access_table import Permission
from rpc.errors import VirError
from rpc.values import (
    Domain,
    Interface,
    Network,
    NetworkPort,
    NodeDevice,
    NwfilterBinding,
    Secret,
    StoragePool,
)
from supervisor.access.access_object import CONNECTION, ObjectValue, describe, text
from supervisor.access.control import AccessControl, PolkitAccess, Question, action
from supervisor.access.documents import defined, metadata_of
from supervisor.messages.calls import Client, Identity
from tests.unit.access.access_under_test import ALICE, DOCUMENTS, UUID, Rules, client

READ = Permission("domain", "read")
WEB = describe(Domain("web", UUID, -1))
QUESTION = Question(READ, WEB, "QEMU")


async def allowed(by: Client, *drivers: Rules, session: bool = False) -> bool:
    return (await AccessControl(drivers, session=session).allows(by, [QUESTION]))[0]


async def test_each_driver_must_allow() -> None:
    assert await allowed(client(), Rules(), Rules())
    assert not await allowed(client(), Rules(), Rules(set()))


async def test_root_may_do_everything_whatever_the_rules_say() -> None:
    assert await allowed(client(Identity(uid=0, pid=1)), Rules(set()))
    assert not await allowed(client(Identity(uid=-1, tls_dn="CN=root")), Rules(set()))


async def test_who_calls_for_another_needs_the_permission_as_well() -> None:
    rules = Rules()
    await allowed(client(Identity(uid=0), proven=ALICE), rules)
    assert len(rules.asked) == 1  # about Alice: the root that she claims to be is not believed
    proxied = client(ALICE, proven=Identity(uid=0, pid=1))
    assert not await allowed(proxied, Rules(set()))


async def test_a_refusal_does_not_say_what_is_missing() -> None:
    with pytest.raises(VirError) as refused:
        await AccessControl([Rules(set())], session=False).require(client(), [QUESTION])
    assert refused.value.message == "access denied: 'QEMU' denied access"


@pytest.mark.parametrize(
    ("value", "attributes"),
    [
        (Domain("web", UUID, 3), {"domain_name": "web", "domain_uuid": text(UUID)}),
        (Network("lan", UUID), {"network_name": "lan", "network_uuid": text(UUID)}),
        (StoragePool("p", UUID), {"pool_name": "p", "pool_uuid": text(UUID)}),
        (Interface("eth0", "aa"), {"interface_name": "eth0", "interface_macaddr": "aa"}),
        (NodeDevice("pci_1"), {"node_device_name": "pci_1"}),
        (NwfilterBinding("tap0", "f"), {"nwfilter_binding_portdev": "tap0"}),
        (Secret(UUID, 0, ""), {"secret_uuid": text(UUID)}),
        (Secret(UUID, 1, "/v"), {"secret_uuid": text(UUID), "secret_usage_volume": "/v"}),
        (Secret(UUID, 2, "c"), {"secret_uuid": text(UUID), "secret_usage_ceph": "c"}),
        (Secret(UUID, 3, "t"), {"secret_uuid": text(UUID), "secret_usage_target": "t"}),
        (Secret(UUID, 4, "n"), {"secret_uuid": text(UUID), "secret_usage_name": "n"}),
        (
            NetworkPort(Network("lan", UUID), bytes(16)),
            {
                "network_name": "lan",
                "network_uuid": text(UUID),
                "network_port_uuid": text(bytes(16)),
            },
        ),
    ],
)
def test_polkit_is_told_the_attributes_that_libvirt_tells(
    value: ObjectValue, attributes: dict[str, str]
) -> None:
    asked = action(Question(Permission("storage_vol", "data_read"), describe(value), "LXC"))
    assert asked.id == "org.libvirt.api.storage-vol.data-read"
    assert asked.details == {"connect_driver": "LXC", **attributes}


def test_about_the_connection_polkit_is_told_its_driver() -> None:
    asked = action(Question(Permission("connect", "getattr"), CONNECTION, "QEMU"))
    assert asked.details == {"connect_driver": "QEMU"}


async def test_polkit_is_not_asked_about_a_client_from_another_host() -> None:
    driver = PolkitAccess(None)  # type: ignore[arg-type]
    assert await driver.allows(Identity(tls_dn="CN=alice"), [QUESTION]) == [False]


@pytest.mark.parametrize(
    ("object_type", "document", "expected"),
    [
        ("domain", f"<domain><name>a</name><uuid>{text(UUID)}</uuid></domain>", ("a", text(UUID))),
        ("domain", DOCUMENTS["domain"], ("web", "")),
        ("network", DOCUMENTS["network"], ("web", "")),
        ("storage_pool", DOCUMENTS["storage_pool"], ("web", "")),
        (
            "storage_pool",
            "<pool type='logical'><source><name>vg</name></source></pool>",
            ("vg", ""),
        ),
        ("secret", DOCUMENTS["secret"], ("web", "")),
        ("nwfilter", f"<filter name='f'><uuid>{text(UUID)}</uuid></filter>", ("f", text(UUID))),
        ("interface", DOCUMENTS["interface"], ("web", "")),
    ],
)
def test_a_document_names_its_object_as_the_service_reads_it(
    object_type: str, document: str, expected: tuple[str, str]
) -> None:
    obj = defined(object_type, document)
    assert (obj.name, obj.uuid) == expected


def test_metadata_is_found_by_its_namespace() -> None:
    xml = (
        "<domain><name>a</name><metadata><a:team xmlns:a='urn:a'> <b>web</b>\n</a:team>"
        "<x:other xmlns:x='urn:x'>no</x:other></metadata></domain>"
    )
    wanted: list[Any] = ["urn:a", "urn:none"]
    assert metadata_of(xml, wanted) == {"urn:a": "web"}
