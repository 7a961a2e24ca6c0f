"""Every call of every service is checked before its method, and its lists are filtered."""

from __future__ import annotations

import ast
from typing import Final

import pytest

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.table import Procedure
from rpc.values import (
    Domain,
    DomainSnapshot,
    DomainStatsRecord,
    Network,
    StoragePool,
    StorageVol,
)
from supervisor.access.access_object import text
from supervisor.access.subjects import CHECKS_ITSELF, SubjectSource, subject_of
from supervisor.messages.calls import CheckAccess
from tests.paths import PROJECT
from tests.unit.access.access_under_test import (
    DOCUMENTS,
    UUID,
    GuardedService,
    Rules,
    arguments_of,
    client,
    owned,
)

SERVICES: Final = ("domd", "worker", "hostd", "netd", "stord")
WEB: Final = Domain("web", UUID, 3)
DB: Final = Domain("db", bytes(16), -1)


def owner_of(procedure: Procedure) -> str:
    """A worker's calls come by domd, which checks them."""
    return "domd" if procedure.owner == "worker" else str(procedure.owner)


@pytest.mark.parametrize("procedure", owned(*SERVICES), ids=lambda procedure: procedure.name)
async def test_without_its_permission_no_call_reaches_its_method(procedure: Procedure) -> None:
    guarded = GuardedService(owner_of(procedure), Rules(set()))
    with pytest.raises(VirError) as refused:
        await guarded.call(procedure.name, *arguments_of(procedure))
    assert (refused.value.code, refused.value.domain) == (
        ErrorCode.ACCESS_DENIED,
        ErrorDomain.ACCESS,
    )
    assert refused.value.message == "access denied: 'QEMU' denied access"
    assert not guarded.forwarded
    # A look-up changes nothing: it is what says which object the permission is for.
    looked_up = {name for name in guarded.service.reached if "_lookup_" not in name}
    assert not looked_up


@pytest.mark.parametrize("procedure", owned(*SERVICES), ids=lambda procedure: procedure.name)
async def test_with_its_permission_each_call_reaches_its_method(procedure: Procedure) -> None:
    guarded = GuardedService(owner_of(procedure), Rules())
    await guarded.call(procedure.name, *arguments_of(procedure))
    if procedure.owner == "worker":
        assert guarded.forwarded == [procedure.number]
    else:
        assert procedure.name in guarded.service.reached
    assert guarded.rules.asked


@pytest.mark.parametrize(
    "procedure", owned(*SERVICES, "rpcd"), ids=lambda procedure: procedure.name
)
def test_each_call_says_which_object_it_is_about(procedure: Procedure) -> None:
    subject_of(procedure)


def test_every_service_that_answers_clients_has_a_guard_but_workers() -> None:
    found = {}
    for path in (PROJECT / "supervisor").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Dispatcher":
                (guard,) = [word.value for word in node.keywords if word.arg == "guard"]
                found[path.parent.name] = ast.unparse(guard)
    assert found.pop("workers") == "None"
    assert found == dict.fromkeys(("domd", "hostd", "netd", "stord"), "open_guard(process)")


def test_every_domain_that_a_file_names_is_checked_by_the_method_itself() -> None:
    assert all(
        subject_of(procedure).source is SubjectSource.METHOD
        for procedure in owned("domd")
        if procedure.name in CHECKS_ITSELF
    )


async def test_a_method_that_forgets_its_check_is_refused() -> None:
    guarded = GuardedService("domd", Rules())
    guarded.service.forgets = True
    with pytest.raises(VirError) as refused:
        await guarded.call("domain_restore", "/image")
    assert refused.value.code is ErrorCode.ACCESS_DENIED


async def test_the_object_is_what_the_service_says_and_not_what_the_client_claims() -> None:
    guarded = GuardedService("domd", Rules({("domain.start", "web")}))
    guarded.service.results["domain_lookup_by_uuid"] = DB
    with pytest.raises(VirError, match="denied access"):
        await guarded.call("domain_create", WEB)
    guarded.rules.allowed = {("domain.start", "db")}
    await guarded.call("domain_create", WEB)
    assert guarded.service.given["domain_create"] == (DB,)


async def test_a_moment_belongs_to_its_domain() -> None:
    guarded = GuardedService("domd", Rules({("domain.snapshot", "web")}))
    guarded.service.results["domain_lookup_by_uuid"] = DB
    with pytest.raises(VirError, match="denied access"):
        await guarded.call("domain_snapshot_delete", DomainSnapshot("s", WEB), 0)


async def test_an_unknown_object_is_reported_as_without_access_control() -> None:
    guarded = GuardedService("domd", Rules())
    guarded.service.missing.add("domain_lookup_by_uuid")
    with pytest.raises(VirError) as refused:
        await guarded.call("domain_create", WEB)
    assert refused.value.code is ErrorCode.NO_DOMAIN


async def test_a_definition_is_about_the_name_in_its_document() -> None:
    rules = Rules({("domain.write", "web"), ("domain.save", "web")})
    guarded = GuardedService("domd", rules)
    guarded.service.missing.add("domain_lookup_by_name")
    await guarded.call("domain_define_xml", DOCUMENTS["domain"])
    other = DOCUMENTS["domain"].replace("web", "db")
    with pytest.raises(VirError, match="denied access"):
        await guarded.call("domain_define_xml", other)
    # The first element that says anything is the name, as for the parser.
    twice = other.replace("<name>", "<name/><name>").replace("</name>", "</name><name>web</name>")
    with pytest.raises(VirError, match="denied access"):
        await guarded.call("domain_define_xml", twice)


async def test_who_may_write_by_metadata_cannot_take_another_domain_by_its_own_document() -> None:
    uri = "urn:team"
    rules = Rules(metadata_uris=(uri,))
    guarded = GuardedService("domd", rules)
    guarded.service.results["domain_lookup_by_name"] = WEB
    guarded.service.results["domain_get_metadata"] = "<team>them</team>"
    mine = "<metadata><t:team xmlns:t='urn:team'>us</t:team></metadata>"
    xml = DOCUMENTS["domain"].replace("</name>", f"</name>{mine}")
    await guarded.call("domain_define_xml", xml)
    assert {obj.metadata for _, obj, _ in rules.asked} == {((uri, "us"),), ((uri, "them"),)}


async def test_lists_have_what_the_client_may_see_and_are_not_cached() -> None:
    rules = Rules({("connect.search_domains", ""), ("domain.getattr", "web")})
    guarded = GuardedService("domd", rules)
    guarded.service.results["connect_list_all_domains"] = ([WEB, DB], 2)
    reply, result = await guarded.call("connect_list_all_domains", 1, 0)
    assert (result, reply.cacheable) == (([WEB], 1), False)
    assert (await guarded.call("connect_list_all_domains", 0, 0))[1] == ([], 1)
    assert guarded.service.given["connect_list_all_domains"] == (1, 0)


async def test_names_numbers_and_counts_are_filtered_before_they_are_cut() -> None:
    names = ("connect.search_domains", ""), ("domain.getattr", "web")
    guarded = GuardedService("domd", Rules(set(names)))
    results = guarded.service.results
    results["connect_list_all_domains"] = ([WEB, DB], 2)
    results["connect_list_defined_domains"] = ["db", "web"]
    results["connect_list_domains"] = [9, 3]
    assert (await guarded.call("connect_list_defined_domains", 1))[1] == ["web"]
    assert (await guarded.call("connect_list_domains", 10))[1] == [3]
    assert (await guarded.call("connect_num_of_domains"))[1] == 1
    assert (await guarded.call("connect_num_of_defined_domains"))[1] == 1


async def test_statistics_are_of_domains_that_the_client_may_read() -> None:
    rules = Rules({("connect.search_domains", ""), ("domain.read", "db")})
    guarded = GuardedService("domd", rules)
    records = [DomainStatsRecord(WEB, []), DomainStatsRecord(DB, [])]
    guarded.service.results["connect_get_all_domain_stats"] = records
    _, result = await guarded.call("connect_get_all_domain_stats", [], 0, 0)
    assert result == records[1:]


async def test_volumes_are_filtered_in_their_pool() -> None:
    rules = Rules({("storage_pool.search_storage_vols", "web"), ("storage_vol.getattr", "a")})
    guarded = GuardedService("stord", rules)
    pool, volumes = StoragePool("web", UUID), [StorageVol("web", n, f"/{n}") for n in "ab"]
    results = guarded.service.results
    results["storage_pool_list_all_volumes"] = (volumes, 2)
    results["storage_pool_list_volumes"] = ["b", "a"]
    assert (await guarded.call("storage_pool_list_volumes", pool, 5))[1] == ["a"]
    assert (await guarded.call("storage_pool_num_of_volumes", pool))[1] == 1
    attributes = dict(rules.asked[-1].obj.attributes)
    assert attributes == {
        "pool_name": "web",
        "pool_uuid": text(UUID),
        "vol_name": "b",
        "vol_key": "/b",
    }


async def test_devices_are_counted_with_the_flags_at_their_place() -> None:
    guarded = GuardedService("hostd", Rules())
    await guarded.call("node_num_of_devices", "net", 0)
    assert guarded.service.given["node_list_devices"] == ("net", 65536, 0)


async def test_an_event_of_an_object_that_is_gone_is_judged_by_its_name() -> None:
    guarded = GuardedService("netd", Rules({("network.getattr", "lan")}))
    guarded.service.missing.add("network_lookup_by_uuid")
    ask = {"client": client(), "permission": ("network", "getattr"), "uuid": UUID}
    await guarded.guard.check_access(CheckAccess(**ask, name="lan"))  # type: ignore[arg-type]
    with pytest.raises(VirError, match="denied access"):
        await guarded.guard.check_access(CheckAccess(**ask, name="wan"))  # type: ignore[arg-type]


async def test_an_event_that_is_withheld_is_no_refusal_for_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guarded = GuardedService("netd", Rules(set()))
    request = CheckAccess(client=client(), permission=("network", "getattr"), uuid=UUID)
    with pytest.raises(VirError, match="denied access"):
        await guarded.guard.check_access(request)
    assert not caplog.records


async def test_an_event_of_an_object_that_exists_is_judged_by_the_object() -> None:
    guarded = GuardedService("netd", Rules({("network.getattr", "lan")}))
    guarded.service.results["network_lookup_by_uuid"] = Network("wan", UUID)
    request = CheckAccess(client=client(), permission=("network", "getattr"), uuid=UUID, name="lan")
    with pytest.raises(VirError, match="denied access"):
        await guarded.guard.check_access(request)
