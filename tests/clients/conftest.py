"""Fixtures of the client tests: one daemon a test module, one tiny guest a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.event_watch import EventLoop
from tests.clients.guest import Guest, build_guest
from tests.clients.libvirt_binding import libvirt


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """The tiny Linux guest, in a folder that QEMU's user can read."""
    folder = tmp_path_factory.mktemp("tiny")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    return build_guest(folder)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon of this module's own."""
    with Daemon() as running:
        yield running


@pytest.fixture
def link(daemon: Daemon) -> Iterator[Any]:
    """A read-write connection through the stock binding; no domain is left when it closes."""
    EventLoop.start()
    connection = libvirt.open(daemon.uri)
    yield connection
    for domain in connection.listAllDomains():
        persistent = domain.isPersistent()
        if domain.isActive():
            domain.destroy()
        if persistent:
            domain.undefine()
    connection.close()
