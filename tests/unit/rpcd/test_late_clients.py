"""Clients that do not authenticate lose their place."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest

from supervisor.messages.calls import Identity
from supervisor.rpcd.auth.late_clients import LIMIT_S, LateClients
from supervisor.rpcd.auth.none import NoAuthentication
from supervisor.rpcd.auth.polkit import PolkitAuthentication


@dataclass(eq=False)
class Client:
    name: str
    authentication: PolkitAuthentication | NoAuthentication
    is_closed: bool = field(default=False)

    def close(self) -> None:
        self.is_closed = True


def waiting(name: str) -> Client:
    authentication = PolkitAuthentication(Identity(), name, None, read_only=False)  # type: ignore[arg-type]
    return Client(name, authentication)


def test_a_client_that_never_authenticates_is_closed_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    time = [0.0]
    silent, late = waiting("pid 7 uid 1"), waiting("pid 8 uid 1")
    known = Client("pid 9 uid 0", NoAuthentication(Identity(uid=0)))
    clients = [silent, known]
    watched = LateClients(lambda: clients, lambda: time[0])
    with caplog.at_level(logging.WARNING):
        watched.sweep()
        clients.append(late)
        time[0] = LIMIT_S
        watched.sweep()
        assert not silent.is_closed
        time[0] = LIMIT_S + 1
        watched.sweep()
    assert (silent.is_closed, late.is_closed, known.is_closed) == (True, False, False)
    assert "client pid 7 uid 1 is closed: it has not authenticated" in caplog.text


def test_a_client_that_has_authenticated_meanwhile_stays() -> None:
    time = [0.0]
    client = waiting("pid 7 uid 1")
    watched = LateClients(lambda: [client], lambda: time[0])
    watched.sweep()
    client.authentication.is_complete = True
    time[0] = 2 * LIMIT_S
    watched.sweep()
    assert not client.is_closed
