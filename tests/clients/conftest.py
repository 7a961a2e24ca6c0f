"""Fixtures of the client tests: one daemon a test module, one tiny guest a run."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.event_watch import EventLoop
from tests.clients.guest import Guest, build_guest
from tests.clients.libvirt_binding import libvirt


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """Make a directory that QEMU's user can search.

    Each pytest that starts makes /tmp/pytest-of-root 0700 again, which hides all below it.
    """
    folder = Path(tempfile.mkdtemp(prefix="vv-test-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Give a test a directory; it replaces pytest's own."""
    with open_directory() as folder:
        yield folder


@pytest.fixture(scope="session")
def tiny() -> Iterator[Guest]:
    """Build the tiny Linux guest."""
    with open_directory() as folder:
        yield build_guest(folder)


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
