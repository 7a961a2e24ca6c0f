"""Requests to rpcd."""

from __future__ import annotations

import msgspec

from ipc import Request


class ClientList(msgspec.Struct, frozen=True, kw_only=True):
    """The connected clients."""

    identifiers: list[str]  # `Client.id` of each


class ListClients(Request[ClientList], frozen=True, kw_only=True, tag="rpcd.list_clients"):
    """List the connected clients; domd ends AUTODESTROY guests of the others."""

    deadline_s = 30.0  # rpcd may be starting itself
