"""Lifecycle actions of a domain change live, in the definition, or both."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rpc.enums import DomainLifecycle as Event
from rpc.enums import DomainLifecycleAction as Action
from rpc.enums import DomainModificationImpact as Impact
from rpc.errors import ErrorCode, VirError
from supervisor.domd.calls.lifecycle_action import check_allowed, read_action
from supervisor.messages.worker import SetLifecycleAction
from tests.unit.domd.domd_under_test import DOM, Domd, domd

INACTIVE = 2  # VIR_DOMAIN_XML_INACTIVE
CALL = "domain_set_lifecycle_action"


@pytest.mark.parametrize("impact", [Impact.CONFIG, Impact.LIVE, Impact.LIVE | Impact.CONFIG])
def test_an_action_changes_where_the_flags_say(tmp_path: Path, impact: int) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            await service.start()
            await service.call(CALL, DOM, Event.CRASH, Action.COREDUMP_DESTROY, impact)
            defined = "<on_crash>coredump-destroy</on_crash>" in await service.xml(INACTIVE)
            assert defined == bool(impact & Impact.CONFIG)
            asked = [r for r in service.tree.worker.requests if isinstance(r, SetLifecycleAction)]
            expected = [SetLifecycleAction(event="on_crash", action="coredump-destroy")]
            assert asked == (expected if impact & Impact.LIVE else [])

    asyncio.run(story())


async def refused(service: Domd, event: int, action: int, flags: int = 0) -> ErrorCode:
    before = await service.xml()
    with pytest.raises(VirError) as error:
        await service.call(CALL, DOM, event, action, flags)
    assert await service.xml() == before
    return error.value.code


def test_what_qemu_cannot_do_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with domd(tmp_path) as service:
            await service.define()
            unsupported = ErrorCode.CONFIG_UNSUPPORTED
            assert await refused(service, Event.POWEROFF, Action.PRESERVE) is unsupported
            assert await refused(service, Event.CRASH, Action.RESTART_RENAME) is unsupported
            assert await refused(service, Event.REBOOT, Action.COREDUMP_DESTROY) is unsupported
            assert await refused(service, 3, 0) is ErrorCode.INVALID_ARG
            live = int(Impact.LIVE)
            assert await refused(service, 0, 0, live) is ErrorCode.OPERATION_INVALID

    asyncio.run(story())


def test_numbers_become_words() -> None:
    assert read_action(Event.REBOOT, Action.RESTART) == ("reboot", "restart")
    for event, action in ((0, 6), (3, 0)):
        with pytest.raises(VirError, match="invalid lifecycle"):
            read_action(event, action)
    check_allowed("crash", "coredump-restart")
    with pytest.raises(VirError, match="doesn't support"):
        check_allowed("poweroff", "coredump-restart")
