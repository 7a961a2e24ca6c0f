"""Giving up capabilities, in real processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.root.privileges import CAPABILITIES, Privileges, drop_privileges
from supervisor.runtime.capabilities import (
    Capability,
    bounding_set,
    limit_bounding_set,
    limit_capabilities,
    mask_of,
    names_of,
    permitted_capabilities,
)
from supervisor.workers.qemu.worker_limits import KEPT
from tests.unit.root.test_seccomp import in_child

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities")


def own_masks() -> dict[str, int]:
    """CapEff, CapPrm, CapBnd, … of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = [line.split(":\t") for line in lines if line.startswith("Cap")]
    return {name: int(value, 16) for name, value in fields}


def test_what_is_given_up_is_gone_from_every_set() -> None:
    def work() -> int:
        kept = {Capability.CHOWN, Capability.MKNOD, Capability.BPF}
        limit_bounding_set(mask_of(kept))
        limit_capabilities(mask_of(kept))
        masks = own_masks()
        wanted = mask_of(kept)
        alike = masks["CapEff"] == masks["CapPrm"] == permitted_capabilities() == wanted
        return 0 if alike and masks["CapBnd"] == bounding_set() == wanted else 1

    assert in_child(work) == 0


def test_what_a_container_lacks_is_not_kept_and_no_error() -> None:
    def work() -> int:
        limit_capabilities(mask_of({Capability.CHOWN, Capability.SETPCAP}))
        drop_privileges(Privileges.STORAGE)  # which would keep CAP_SYS_ADMIN
        return 0 if permitted_capabilities() == mask_of({Capability.CHOWN}) else 1

    assert in_child(work) == 0


def test_workers_keep_nothing_that_changes_the_kernel() -> None:
    assert not KEPT & {Capability.SYS_RAWIO, Capability.NET_RAW, Capability.NET_BIND_SERVICE}
    names = names_of(mask_of(KEPT))
    assert "CAP_SYS_ADMIN" in names
    assert len(names) == len(KEPT)
    modules, boot, time, syslog = 16, 22, 25, 34
    assert not [number for number in (modules, boot, time, syslog) if mask_of(KEPT) >> number & 1]


def test_every_role_but_the_workers_keeps_a_list() -> None:
    assert {p for p, kept in CAPABILITIES.items() if kept is None} == {Privileges.LAUNCH}
