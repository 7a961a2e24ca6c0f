"""The table of roles: entry points, owners of workers, services of a daemon."""

from __future__ import annotations

from contextvars import copy_context

import pytest

from ipc.context import CallContext, set_call
from rpc.errors import ErrorCode, VirError
from supervisor.root.handlers import check_owner
from supervisor.root.roles import SERVICES, SESSION_SERVICES, WORKERS, Role
from supervisor.runtime.child import load_role


def error_for(peer: str, driver: str) -> VirError | None:
    """The error of a process that requests a driver's worker; None: it is allowed."""

    def ask() -> VirError | None:
        set_call(CallContext(peer, "trace", float("inf")))
        try:
            check_owner(driver)
        except VirError as refused:
            return refused
        return None

    return copy_context().run(ask)


@pytest.mark.parametrize(("driver", "owner"), [("qemu", "domd"), ("lxc", "lxcd")])
def test_only_the_owner_of_a_driver_may_spawn_its_workers(driver: str, owner: str) -> None:
    others = {role.name for role in SERVICES} | {f"{driver}:x", "root2", ""}
    assert error_for(owner, driver) is None
    for peer in others - {owner}:
        refused = error_for(peer, driver)
        assert refused is not None
        assert refused.code is ErrorCode.ACCESS_DENIED


def test_workers_of_an_unknown_driver_are_refused() -> None:
    refused = error_for("domd", "xen")
    assert refused is not None
    assert refused.code is ErrorCode.NO_SUPPORT


def test_every_owner_is_a_service() -> None:
    names = {role.name for role in SERVICES}
    assert {role.owner for role in WORKERS.values()} <= names
    assert len({role.owner for role in WORKERS.values()}) == len(WORKERS)


def test_the_session_daemon_has_every_service_but_lxcd() -> None:
    assert {role.name for role in SERVICES} - {role.name for role in SESSION_SERVICES} == {"lxcd"}


@pytest.mark.parametrize("role", [*SERVICES, *WORKERS.values()], ids=lambda role: role.name)
def test_the_entry_point_of_every_role_is_a_function(role: Role) -> None:
    assert callable(load_role(role.entry))
