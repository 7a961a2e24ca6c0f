"""Queries of domains: lists, filters, lookups, XML."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from conf.domain import format_domain, parse_domain
from ipc import Descriptor
from rpc.enums import ConnectListAllDomainsFlags as Flags
from rpc.enums import DomainPausedReason, DomainRunningReason, DomainState, DomainXMLFlags
from rpc.errors import ErrorCode, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.query import QueryCalls
from supervisor.domd.domain import Definition, DomainObject, DomainRuntime
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.registry import DomainRegistry, domain_type
from supervisor.drivers.qemu import QEMU
from supervisor.messages.calls import Client, Identity
from supervisor.messages.worker import DomainStatus
from supervisor.runtime.paths import Paths
from supervisor.runtime.procfs import read_cpu_ns

CALL = ClientCall(
    Client(
        id="1", identity=Identity(uid=0, gid=0, pid=1), read_only=False, uri="qemu:///system",
        driver="qemu", session=False,
    )
)  # fmt: skip
DOCUMENT = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>
<memory unit='KiB'>2048</memory><vcpu>2</vcpu><os><type>hvm</type></os>
<devices><graphics type='vnc' port='5901' passwd='secret'/>{serial}</devices></domain>"""
LIVE = "<serial type='pty'><source path='/dev/pts/7'/><alias name='serial0'/></serial>"


def entry(number: int, *, state: int | None = None, persistent: bool = True) -> DomainObject:
    name, uuid = f"guest{number}", f"00000000-0000-4000-8000-00000000000{number}"
    made = DomainObject(
        object_type=domain_type(QEMU), name=name, uuid=bytes.fromhex(uuid.replace("-", ""))
    )
    document = DOCUMENT.format(name=name, uuid=uuid, serial="<serial type='pty'/>")
    if persistent:
        made.definition = Definition(format_domain(parse_domain(document), secure=True))
    if state is not None:
        live = parse_domain(DOCUMENT.format(name=name, uuid=uuid, serial=LIVE))
        live.id = number
        description = DomainStatus(
            uuid=made.uuid, name=name, id=number, pid=0, state=state, reason=1, started_at=0.0,
            live_xml=format_domain(live, live=True, secure=True),
        )  # fmt: skip
        made.runtime = DomainRuntime.from_status(description, None)
    return made


@pytest.fixture
def queries(tmp_path: Path) -> QueryCalls:
    registry = DomainRegistry(QEMU)
    registry.add(entry(1))
    registry.add(entry(2, state=DomainState.RUNNING))
    registry.add(entry(3, state=DomainState.PAUSED, persistent=False))
    return QueryCalls(registry, DomainFiles(Paths.system(tmp_path)))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, [1, 2, 3]),
        (Flags.ACTIVE, [2, 3]),
        (Flags.INACTIVE, [1]),
        (Flags.ACTIVE | Flags.INACTIVE, [1, 2, 3]),
        (Flags.PERSISTENT, [1, 2]),
        (Flags.TRANSIENT, [3]),
        (Flags.ACTIVE | Flags.PERSISTENT, [2]),
        (Flags.RUNNING, [2]),
        (Flags.PAUSED | Flags.SHUTOFF, [1, 3]),
        (Flags.OTHER, []),
        (Flags.MANAGEDSAVE, []),
        (Flags.NO_AUTOSTART, [1, 2, 3]),
    ],
)
def test_filters_of_one_kind_add_up_and_of_several_narrow(
    queries: QueryCalls, flags: int, expected: list[int]
) -> None:
    found, count = queries.connect_list_all_domains(CALL, 1, flags)
    assert [int(domain.name[-1]) for domain in found] == expected
    assert count == len(expected)


def test_an_unknown_filter_is_refused(queries: QueryCalls) -> None:
    with pytest.raises(VirError, match="unsupported flags") as refused:
        queries.connect_list_all_domains(CALL, 1, 1 << 20)
    assert refused.value.code is ErrorCode.INVALID_ARG


def test_the_old_lists_agree(queries: QueryCalls) -> None:
    assert queries.connect_num_of_domains(CALL) == 2
    assert queries.connect_list_domains(CALL, 10) == [2, 3]
    assert queries.connect_list_domains(CALL, 1) == [2]
    assert queries.connect_list_defined_domains(CALL, 10) == ["guest1"]


def test_a_domain_is_found_by_id_name_and_uuid(queries: QueryCalls) -> None:
    by_id = queries.domain_lookup_by_id(CALL, 2)
    assert by_id == queries.domain_lookup_by_name(CALL, "guest2")
    assert by_id == queries.domain_lookup_by_uuid(CALL, by_id.uuid)


@pytest.mark.parametrize("identifier", [-1, 0, 99])
def test_what_is_not_there_is_no_domain(queries: QueryCalls, identifier: int) -> None:
    with pytest.raises(VirError) as refused:
        queries.domain_lookup_by_id(CALL, identifier)
    assert refused.value.code is ErrorCode.NO_DOMAIN


def xml_of(queries: QueryCalls, domain: DomainId, flags: int) -> str:
    xml = queries.domain_get_xml_desc(CALL, domain, flags)
    assert isinstance(xml, str)
    return xml


def named(queries: QueryCalls, number: int) -> DomainId:
    return queries.domain_lookup_by_name(CALL, f"guest{number}")


def test_the_live_document_has_what_the_guest_was_given_and_the_inactive_has_not(
    queries: QueryCalls,
) -> None:
    live = xml_of(queries, named(queries, 2), 0)
    assert "id='2'" in live
    assert "/dev/pts/7" in live
    inactive = xml_of(queries, named(queries, 2), DomainXMLFlags.INACTIVE)
    assert "/dev/pts/7" not in inactive
    transient = xml_of(queries, named(queries, 3), DomainXMLFlags.INACTIVE)
    assert "/dev/pts/7" not in transient


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("flags", [0, DomainXMLFlags.INACTIVE])
def test_passwords_are_shown_only_when_asked_for(
    queries: QueryCalls, number: int, flags: int
) -> None:
    domain = named(queries, number)
    assert "secret" not in xml_of(queries, domain, flags)
    assert "secret" in xml_of(queries, domain, flags | DomainXMLFlags.SECURE)


def test_states_come_with_their_reasons(queries: QueryCalls) -> None:
    assert queries.domain_get_state(CALL, named(queries, 1), 0)[0] == DomainState.SHUTOFF
    assert queries.domain_get_state(CALL, named(queries, 2), 0) == (
        DomainState.RUNNING,
        DomainRunningReason.BOOTED,
    )
    assert queries.domain_get_state(CALL, named(queries, 3), 0) == (
        DomainState.PAUSED,
        DomainPausedReason.USER,
    )


def test_a_running_guests_figures_are_not_kept_and_the_others_are(queries: QueryCalls) -> None:
    call = ClientCall(CALL.client, list[Descriptor]())
    queries.domain_get_info(call, named(queries, 2))
    assert not call.cacheable
    queries.domain_get_info(call, named(queries, 1))
    assert call.cacheable


def test_the_info_of_a_running_guest_is_cacheable_but_for_its_cpu_time(
    queries: QueryCalls,
) -> None:
    call = ClientCall(CALL.client)
    running = queries.filtered(Flags.RUNNING)[0]
    assert running.runtime is not None
    running.runtime = replace(running.runtime, status=status_with(running.runtime, os.getpid()))
    *_, time = queries.domain_get_info(call, running.identity)
    assert time > 0
    assert call.cacheable
    assert call.cpu_time_of is not None
    assert read_cpu_ns(call.cpu_time_of.fileno()) is not None


def test_the_info_of_a_guest_that_has_just_ended_is_not_kept(queries: QueryCalls) -> None:
    call = ClientCall(CALL.client)
    running = queries.filtered(Flags.RUNNING)[0]  # its pid is 0
    assert queries.domain_get_info(call, running.identity)[-1] == 0
    assert not call.cacheable


def status_with(runtime: DomainRuntime, pid: int) -> DomainStatus:
    return msgspec.structs.replace(runtime.status, pid=pid)


def test_the_xml_of_the_next_domains_goes_along_unless_it_needs_parsing(tmp_path: Path) -> None:
    registry = DomainRegistry(QEMU)
    plain = []
    for number in range(4):
        domain = entry(number)
        document = DOCUMENT.format(name=domain.name, uuid=domain.uuid_text, serial="")
        if number != 2:  # that one's password has to be taken out
            document = document.replace(" passwd='secret'", "")
        domain.definition = Definition(document)
        registry.add(domain)
        plain.append(domain)
    queries = QueryCalls(registry, DomainFiles(Paths.system(tmp_path)))
    queries.domain_get_xml_desc(ClientCall(CALL.client), plain[0].identity, 0)
    call = ClientCall(CALL.client)
    queries.domain_get_xml_desc(call, plain[1].identity, 0)
    assert plain[3].definition is not None
    assert call.readahead == [((plain[3].identity, 0), plain[3].definition.xml)]


def test_messages_are_those_of_the_running_guest(tmp_path: Path) -> None:
    registry = DomainRegistry(QEMU)
    off, running = entry(1), entry(2, state=DomainState.RUNNING)
    assert running.runtime is not None
    status = msgspec.structs.replace(
        running.runtime.status,
        taints=["custom-monitor", "custom-argv"],
        deprecations=["machine type 'old'"],
    )
    running.runtime = replace(running.runtime, status=status)
    for domain in (off, running):
        registry.add(domain)
    calls = QueryCalls(registry, DomainFiles(Paths.system(tmp_path)))
    assert calls.domain_get_messages(CALL, off.identity, 0) == []
    taints = [
        "tainted: custom configuration parameters specified",
        "tainted: custom monitor control commands issued",
    ]
    deprecated = ["deprecated configuration: machine type 'old'"]
    for flags, expected in ((0, taints + deprecated), (1, deprecated), (2, taints)):
        assert calls.domain_get_messages(CALL, running.identity, flags) == expected
    with pytest.raises(VirError):
        calls.domain_get_messages(CALL, running.identity, 4)
