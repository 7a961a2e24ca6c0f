"""What polkit is asked, and what its answers mean for the client."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.authd import polkit as polkit_module
from supervisor.authd import polkit_actions as actions_module
from supervisor.authd.polkit import PolkitCalls
from supervisor.authd.polkit_actions import PolkitActions
from supervisor.messages.authd import CheckActions, CheckPolkit, PolkitAction
from supervisor.runtime.procfs import start_time
from tests.unit.authd.polkit_under_test import polkit, system_bus

DEADLINE_S = 20.0
MANAGE = "org.libvirt.unix.manage"
MYSELF = CheckPolkit(name="c", pid=os.getpid(), uid=1000, action=MANAGE)


async def test_polkit_is_asked_about_the_process_its_start_and_its_user(tmp_path: Path) -> None:
    async with asyncio.timeout(DEADLINE_S), polkit(tmp_path) as service:
        await PolkitCalls().check(MYSELF)
    ((kind, details), action, further, flags, _cancellation) = service.questions[0]
    assert kind == "unix-process"
    assert details == {
        "pid": ("u", os.getpid()),
        "start-time": ("t", start_time(os.getpid())),
        "uid": ("i", 1000),
    }
    assert (action, further, flags) == (MANAGE, {}, 1)


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ((False, False, {}), ErrorCode.AUTH_FAILED, "access denied by policy"),
        (
            (False, True, {}),
            ErrorCode.AUTH_UNAVAILABLE,
            f"no polkit agent available to authenticate action '{MANAGE}'",
        ),
        (
            (False, True, {"polkit.dismissed": "true"}),
            ErrorCode.AUTH_CANCELLED,
            "user cancelled authentication process",
        ),
        (None, ErrorCode.AUTH_FAILED, "polkit does not answer"),
    ],
)
async def test_a_refusal_has_libvirts_code(
    tmp_path: Path,
    answer: tuple[bool, bool, dict[str, str]] | None,
    code: ErrorCode,
    message: str,
) -> None:
    async with asyncio.timeout(DEADLINE_S), polkit(tmp_path) as service:
        service.answer = answer
        with pytest.raises(VirError) as refusal:
            await PolkitCalls().check(MYSELF)
    assert (refusal.value.code, refusal.value.domain) == (code, ErrorDomain.POLKIT)
    assert message in refusal.value.message


async def test_a_host_without_polkit_or_without_a_bus_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(DEADLINE_S), system_bus(tmp_path):
        with pytest.raises(VirError, match="polkit does not answer"):
            await PolkitCalls().check(MYSELF)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with pytest.raises(VirError, match="polkit does not answer"):
        await PolkitCalls().check(MYSELF)


async def test_a_polkit_that_does_not_answer_has_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polkit_module, "ANSWER_S", 0.2)
    async with asyncio.timeout(DEADLINE_S), polkit(tmp_path) as service:
        service.is_silent = True
        with pytest.raises(VirError, match="polkit does not answer"):
            await PolkitCalls().check(MYSELF)


async def test_a_client_that_has_ended_is_refused() -> None:
    gone = CheckPolkit(name="c", pid=2**22 + 1, uid=0, action=MANAGE)
    with pytest.raises(VirError, match="the client has ended"):
        await PolkitCalls().check(gone)


ACTIONS = [PolkitAction(f"org.libvirt.api.domain.{name}", {"domain_name": "web"}) for name in "abc"]


def questions(*actions: PolkitAction) -> CheckActions:
    return CheckActions(pid=os.getpid(), started=0, uid=1000, actions=list(actions))


async def test_polkit_is_asked_about_each_action_with_its_object_and_asks_no_user(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(DEADLINE_S), polkit(tmp_path) as service:
        calls = PolkitActions()
        assert (await calls.check(questions(*ACTIONS))).allowed == [True] * 3
        service.answer = (False, True, {})  # a user could be asked: nobody is
        assert (await calls.check(questions(ACTIONS[0]))).allowed == [False]
        await calls.close()
    asked = sorted(question[1] for question in service.questions)
    assert asked == sorted([*(action.id for action in ACTIONS), ACTIONS[0].id])
    assert all(question[2:4] == ({"domain_name": "web"}, 0) for question in service.questions)


async def test_an_action_that_polkit_does_not_know_is_refused(tmp_path: Path) -> None:
    async with asyncio.timeout(DEADLINE_S), polkit(tmp_path) as service:
        service.answer = None
        calls = PolkitActions()
        assert (await calls.check(questions(ACTIONS[0]))).allowed == [False]
        await calls.close()


async def test_a_restarted_message_bus_is_connected_to_again(tmp_path: Path) -> None:
    calls = PolkitActions()
    async with asyncio.timeout(DEADLINE_S):
        async with polkit(tmp_path):
            assert (await calls.check(questions(ACTIONS[0]))).allowed == [True]
        async with polkit(tmp_path):
            assert (await calls.check(questions(ACTIONS[0]))).allowed == [True]
            await calls.close()


async def test_a_silent_polkit_keeps_no_call_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions_module, "ANSWER_S", 0.2)
    async with asyncio.timeout(DEADLINE_S), polkit(tmp_path) as service:
        service.is_silent = True
        calls = PolkitActions()
        with pytest.raises(VirError, match="polkit does not answer"):
            await calls.check(questions(*ACTIONS))
