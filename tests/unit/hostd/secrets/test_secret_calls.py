"""Secrets in hostd: changes, events, and which processes may read a value."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from conf.secret import Secret, parse_secret
from ipc.context import CallContext, set_call
from rpc.errors import ErrorCode, VirError
from rpc.values import Secret as SecretId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.events import Publisher
from supervisor.hostd.calls.secret import SecretCalls
from supervisor.hostd.secrets.files import SecretFiles
from supervisor.hostd.secrets.registry import MAX_SECRETS, SecretRegistry
from supervisor.messages.calls import Client, ClientEvent, Identity
from supervisor.messages.hostd import GetSecret, SecretValue
from tests.unit.dispatch.event_bus import RecordedBus

ONE = "22e1353d-c27e-4d6d-bf15-465053e6ba0b"
TWO = "f52a81b2-424e-490c-823d-6bd4235bc572"
CEPH = "<usage type='ceph'><name>cluster</name></usage>"


def document(uuid: str = ONE, usage: str = "", **flags: str) -> str:
    attributes = "".join(f" {name}='{value}'" for name, value in flags.items())
    return f"<secret{attributes}><uuid>{uuid}</uuid>{usage}</secret>"


class Service:
    """hostd's part for secrets, without hostd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bus = RecordedBus()
        publisher = Publisher(self.bus, "secret")
        self.calls = SecretCalls(SecretRegistry(), SecretFiles(folder), publisher)
        self.calls.load()

    @property
    def events(self) -> list[ClientEvent]:
        return [event for event in self.bus.events if isinstance(event, ClientEvent)]

    def client(self, *, read_only: bool = False) -> ClientCall:
        return ClientCall(
            Client(
                id="1", identity=Identity(uid=0, gid=0, pid=1), read_only=read_only, uri="qemu:///system",
                driver="qemu",
            )
        )  # fmt: skip

    def define(self, xml: str, flags: int = 0) -> SecretId:
        return asyncio.run(self.calls.secret_define_xml(self.client(), xml, flags))

    def set(self, secret: SecretId, value: bytes) -> None:
        asyncio.run(self.calls.secret_set_value(self.client(), secret, value, 0))

    def undefine(self, secret: SecretId) -> None:
        asyncio.run(self.calls.secret_undefine(self.client(), secret))

    def value(self, secret: SecretId) -> bytes:
        return self.calls.secret_get_value(self.client(), secret, 0)

    def uuids(self) -> list[str]:
        return self.calls.connect_list_secrets(self.client(), 100)

    def asked_by(self, peer: str, request: GetSecret) -> SecretValue:
        def answer() -> SecretValue:
            set_call(CallContext(peer=peer, trace="", deadline=0.0))
            return self.calls.get_secret(request)

        return contextvars.copy_context().run(answer)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path / "secrets")


def code_of(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(VirError) as refused:
        call()
    return refused.value.code


def test_a_restarted_service_knows_all_but_ephemeral_secrets(service: Service) -> None:
    service.set(service.define(document(ONE, CEPH)), b"value")
    service.set(service.define(document(TWO, ephemeral="yes")), b"gone")
    again = Service(service.folder)
    assert again.uuids() == [ONE]
    found = again.calls.secret_lookup_by_usage(again.client(), 2, "cluster")
    assert (str(UUID(bytes=found.uuid)), again.value(found)) == (ONE, b"value")


def test_documents_that_make_no_sense_are_left_alone(service: Service) -> None:
    service.define(document(ONE, CEPH))
    for name, text in (
        (TWO, document(ONE)),  # of another secret
        ("22e1353d-c27e-4d6d-bf15-465053e6ba0c", "no document"),
        (
            "ffffffff-c27e-4d6d-bf15-465053e6ba0d",  # for what another is for
            document("ffffffff-c27e-4d6d-bf15-465053e6ba0d", CEPH),
        ),
    ):
        (service.folder / f"{name}.xml").write_text(text)
    before = set(os.listdir(service.folder))
    assert Service(service.folder).uuids() == [ONE]
    assert set(os.listdir(service.folder)) == before


def test_a_changed_definition_keeps_the_value(service: Service) -> None:
    secret = service.define(document(ONE))
    service.set(secret, b"value")
    service.define(f"<secret><uuid>{ONE}</uuid><description>d</description></secret>")
    assert service.value(secret) == b"value"
    assert Service(service.folder).value(secret) == b"value"


def test_what_must_not_change_is_refused_and_nothing_is_changed(service: Service) -> None:
    secret = service.define(document(ONE, CEPH, private="yes"))
    before = service.calls.secret_get_xml_desc(service.client(), secret, 0)
    for xml in (
        document(ONE, CEPH),  # no longer private
        document(ONE, private="yes"),  # for nothing
        document(TWO, CEPH),  # a second one for the same
    ):
        assert code_of(partial(service.define, xml)) is ErrorCode.INTERNAL_ERROR
    assert service.calls.secret_get_xml_desc(service.client(), secret, 0) == before
    assert service.uuids() == [ONE]
    assert set(os.listdir(service.folder)) == {f"{ONE}.xml"}


def test_each_change_is_told_once(service: Service) -> None:
    secret = service.define(document(ONE))
    service.set(secret, b"v")
    service.undefine(secret)
    events = service.events
    assert [(e.family, e.event_id, e.payload[-8:]) for e in events[::2]] == [
        ("secret", 0, bytes(8)),
        ("secret", 0, b"\0\0\0\1\0\0\0\0"),
    ]
    assert events[1].event_id == 1
    assert code_of(lambda: service.undefine(secret)) is ErrorCode.NO_SECRET
    assert len(service.events) == 3


@pytest.mark.parametrize("peer", ["rpcd", "domd", "netd", "hostd", "root", "stord2", "qemu", "x"])
def test_processes_that_have_no_use_for_values_get_none(service: Service, peer: str) -> None:
    service.set(service.define(document(ONE)), b"v")
    request = GetSecret(usage_type="volume", uuid=ONE)
    assert code_of(lambda: service.asked_by(peer, request)) is ErrorCode.OPERATION_DENIED


@pytest.mark.parametrize("peer", ["stord", "qemu:web", "lxc:box"])
def test_stord_and_workers_get_private_values_for_what_they_are_for(
    service: Service, peer: str
) -> None:
    service.set(service.define(document(ONE, CEPH, private="yes")), b"value")
    for request in (
        GetSecret(usage_type="ceph", uuid=ONE),
        GetSecret(usage_type="ceph", uuid=ONE.upper().replace("-", "")),
        GetSecret(usage_type="ceph", usage="cluster"),
    ):
        answer = service.asked_by(peer, request)
        assert answer.value == b"value"
        assert "value" not in repr(answer).removeprefix("SecretValue(value=")
    for request, code in (
        (GetSecret(usage_type="iscsi", uuid=ONE), ErrorCode.INVALID_ARG),
        (GetSecret(usage_type="iscsi", usage="cluster"), ErrorCode.NO_SECRET),
        (GetSecret(usage_type="bogus", usage="cluster"), ErrorCode.INVALID_ARG),
        (GetSecret(usage_type="none", usage=""), ErrorCode.NO_SECRET),
        (GetSecret(usage_type="ceph", uuid="no uuid"), ErrorCode.NO_SECRET),
        (GetSecret(usage_type="ceph", uuid=TWO), ErrorCode.NO_SECRET),
    ):
        assert code_of(partial(service.asked_by, peer, request)) is code


def test_clients_are_told_no_private_value_and_read_only_ones_none(service: Service) -> None:
    private = service.define(document(ONE, private="yes"))
    service.set(private, b"v")
    assert code_of(lambda: service.value(private)) is ErrorCode.INVALID_SECRET
    public = service.define(document(TWO))
    assert code_of(lambda: service.value(public)) is ErrorCode.NO_SECRET  # it has none yet
    service.set(public, b"v")
    reader = service.client(read_only=True)
    denied = code_of(lambda: service.calls.secret_get_value(reader, public, 0))
    assert denied is ErrorCode.OPERATION_DENIED


def test_unknown_flags_are_refused(service: Service) -> None:
    secret = service.define(document(ONE))
    calls, client = service.calls, service.client()
    refused: list[Callable[[], object]] = [
        lambda: service.define(document(ONE), 4),
        lambda: calls.secret_get_value(client, secret, 4),
        lambda: calls.secret_get_xml_desc(client, secret, 1),
        lambda: calls.connect_list_all_secrets(client, 1, 16),
        lambda: asyncio.run(calls.secret_set_value(client, secret, b"v", 1)),
    ]
    assert [code_of(call) for call in refused] == [ErrorCode.INVALID_ARG] * len(refused)


def test_a_disk_that_refuses_leaves_everything_as_it_was(service: Service) -> None:
    secret = service.define(document(ONE))
    service.set(secret, b"old")
    told = len(service.events)
    (service.folder / f".{ONE}.base64.new").mkdir()  # where the new value would be written
    (service.folder / f".{ONE}.xml.new").mkdir()
    assert code_of(lambda: service.set(secret, b"new")) is ErrorCode.SYSTEM_ERROR
    assert code_of(lambda: service.define(document(ONE))) is ErrorCode.SYSTEM_ERROR
    assert service.value(secret) == b"old"
    assert len(service.events) == told


def test_changes_at_once_are_made_one_after_the_other(service: Service) -> None:
    secret = service.define(document(ONE))
    values = [b"%d" % number for number in range(20)]

    async def all_at_once() -> None:
        changes: list[Coroutine[Any, Any, None]] = [
            service.calls.secret_set_value(service.client(), secret, value, 0) for value in values
        ]
        await asyncio.gather(*changes)

    asyncio.run(all_at_once())
    assert Service(service.folder).value(secret) == service.value(secret)


def test_there_are_no_more_secrets_than_the_protocol_lists() -> None:
    secrets = SecretRegistry()
    for number in range(MAX_SECRETS):
        uuid = UUID(int=number)
        entry = secrets.make(str(uuid), uuid.bytes)
        entry.definition = Secret(uuid=str(uuid))
        secrets.add(entry)
    with pytest.raises(VirError, match="secrets already") as refused:
        secrets.object_to_define(parse_secret("<secret/>"))
    assert refused.value.code is ErrorCode.OPERATION_FAILED
