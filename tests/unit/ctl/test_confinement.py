"""What AppArmor confines a guest to."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.ctl import confinement
from supervisor.ctl.confinement import guest_profile

PROFILE = "libvirt-4dea22b3-1d52-d8f3-2516-782e98ab3fa0"


@pytest.mark.parametrize(
    ("label", "profile"),
    [
        (f"{PROFILE} (enforce)\n", PROFILE),
        (f"{PROFILE} (complain)\n", ""),  # it is told of, and nothing is denied
        ("unconfined\n", ""),
        ("system_u:system_r:svirt_t:s0:c1,c2\0", ""),  # SELinux
    ],
)
def test_a_guest_is_confined_by_a_profile_of_libvirts_that_is_enforced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, profile: str
) -> None:
    monkeypatch.setattr(confinement, "PROC", tmp_path)
    attributes = tmp_path / "77/attr"
    attributes.mkdir(parents=True)
    (attributes / "current").write_text(label)
    assert guest_profile(77) == profile


def test_a_process_that_has_ended_is_confined_by_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "PROC", tmp_path)
    assert not guest_profile(77)
