"""What administrators are told about a call."""

from __future__ import annotations

import pytest

from rpc.values import Domain, StoragePool, StorageVol
from supervisor.access.access_object import text
from supervisor.messages.calls import AccessExplanation, AccessQuestion, Identity
from tests.unit.access.access_under_test import ALICE, UUID, GuardedService, Rules


async def explained(
    guarded: GuardedService,
    call: str = "",
    permission: str = "",
    name: str = "web",
    identity: Identity = ALICE,
) -> AccessExplanation:
    question = AccessQuestion(
        identity=identity, driver="qemu", call=call, permission=permission, object=name
    )
    return await guarded.guard.explainer().explain_question(question)


async def test_each_permission_of_a_call_is_told_with_its_condition() -> None:
    answer = await explained(GuardedService("domd", Rules()), "domain_set_memory_flags")
    assert (answer.object, answer.exists) == ("domain 'web'", True)
    assert [(p.permission, p.when, p.allowed) for p in answer.permissions] == [
        ("domain.write", "", True),
        ("domain.save", "without flags 0x3", True),
        ("domain.save", "with flags 0x2", True),
    ]


async def test_of_a_list_the_permission_on_each_object_is_told_too() -> None:
    answer = await explained(GuardedService("domd", Rules()), "connect_list_all_domains")
    assert answer.permissions[1].when == "on each object that is listed"
    assert answer.permissions[1].permission == "domain.getattr"


async def test_an_object_is_found_by_its_uuid() -> None:
    guarded = GuardedService("domd", Rules())
    guarded.service.results["domain_lookup_by_uuid"] = Domain("db", UUID, -1)
    answer = await explained(guarded, permission="domain.start", name=text(UUID))
    assert answer.object == "domain 'db'"


async def test_an_object_that_is_not_there_is_judged_by_its_name() -> None:
    guarded = GuardedService("domd", Rules())
    guarded.service.missing.add("domain_lookup_by_name")
    answer = await explained(guarded, permission="domain.start")
    assert (answer.object, answer.exists) == ("domain 'web'", False)


@pytest.mark.parametrize("exists", [True, False])
async def test_a_volume_is_named_with_its_pool(exists: bool) -> None:
    guarded = GuardedService("stord", Rules())
    guarded.service.results["storage_pool_lookup_by_name"] = StoragePool("images", UUID)
    guarded.service.results["storage_vol_lookup_by_name"] = StorageVol("images", "a", "/a")
    if not exists:
        guarded.service.missing.add("storage_vol_lookup_by_name")
    answer = await explained(guarded, permission="storage_vol.read", name="images/a")
    assert (answer.object, answer.exists) == ("storage vol 'a'", exists)


async def test_root_needs_no_rule() -> None:
    answer = await explained(
        GuardedService("domd", Rules(set())), permission="domain.start", identity=Identity(uid=0)
    )
    assert answer.permissions[0].reasons == ["root has every permission"]
