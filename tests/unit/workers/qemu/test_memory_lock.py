"""A running QEMU may lock what an attached PCI device needs, and never less than before."""

from __future__ import annotations

import resource

import pytest

from conf.domain import parse_domain
from rpc.errors import VirError
from supervisor.workers.qemu.memory_lock import memory_lock, raise_memory_lock

PLAIN = (
    "<domain type='qemu'><name>web</name><memory unit='KiB'>4096</memory>{}"
    "<os><type>hvm</type></os><devices>{}</devices></domain>"
)
CARD = (
    "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='3' slot='0' "
    "function='0'/></source></hostdev>"
)
VFIO_BYTES = (4096 + (1 << 20)) * 1024


class Process:
    """A process whose limit any daemon may raise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limit = 65536
        self.allowed = True
        monkeypatch.setattr(resource, "prlimit", self.prlimit)

    def prlimit(self, pid: int, kind: int, new: tuple[int, int] | None = None) -> tuple[int, int]:
        """Read or set the limit."""
        assert (pid, kind) == (42, resource.RLIMIT_MEMLOCK)
        if new is not None:
            if not self.allowed:
                raise PermissionError("not permitted")
            self.limit, _ = new
        return self.limit, self.limit


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(monkeypatch)


def test_a_pci_device_takes_the_guests_memory_and_a_gib() -> None:
    domain = parse_domain(PLAIN.format("", CARD))
    assert memory_lock(domain) == {resource.RLIMIT_MEMLOCK: VFIO_BYTES}


def test_the_limit_of_a_running_qemu_is_raised(process: Process) -> None:
    raise_memory_lock(42, parse_domain(PLAIN.format("", CARD)))
    assert process.limit == VFIO_BYTES


@pytest.mark.parametrize("limit", [2 * VFIO_BYTES, resource.RLIM_INFINITY])
def test_a_limit_that_is_enough_stays(process: Process, limit: int) -> None:
    process.limit = limit
    raise_memory_lock(42, parse_domain(PLAIN.format("", CARD)))
    raise_memory_lock(42, parse_domain(PLAIN.format("", "")))
    assert process.limit == limit


def test_a_daemon_that_may_not_raise_it_says_so(process: Process) -> None:
    process.allowed = False
    with pytest.raises(VirError, match="cannot limit locked memory of process 42"):
        raise_memory_lock(42, parse_domain(PLAIN.format("", CARD)))
