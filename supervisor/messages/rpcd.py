"""What other services ask of rpcd, the front door."""

from __future__ import annotations

import msgspec

from ipc import Request


class ClientList(msgspec.Struct, frozen=True, kw_only=True):
    """The clients that are connected."""

    identifiers: list[str]  # `Client.id` of each


class ListClients(Request[ClientList], frozen=True, kw_only=True, tag="rpcd.clients"):
    """domd: which clients are there?"""

    deadline_s = 30.0  # rpcd may be starting itself
