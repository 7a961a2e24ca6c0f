"""The user and the groups that QEMU runs with."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from conf.settings import QemuConfig
from supervisor.runtime.emulator_user import User, emulator_user, supplementary_groups

KVM, QEMU = 107, 64055


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with Debian's user libvirt-qemu, whose primary group is kvm."""
    entry = pwd.struct_passwd(("libvirt-qemu", "x", QEMU, KVM, "", "/", "/bin/false"))
    group = grp.struct_group(("libvirt-qemu", "x", QEMU, []))

    def user_named(name: str) -> pwd.struct_passwd:
        if name != "libvirt-qemu":
            raise KeyError(name)
        return entry

    def group_named(name: str) -> grp.struct_group:
        if name != "libvirt-qemu":
            raise KeyError(name)
        return group

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 7])
    monkeypatch.setattr(pwd, "getpwnam", user_named)
    monkeypatch.setattr(grp, "getgrnam", group_named)


@pytest.mark.usefixtures("debian")
def test_the_group_by_default_is_libvirt_qemu_and_kvm_stays_a_supplementary_one() -> None:
    user = emulator_user(QemuConfig())
    assert user == User(QEMU, QEMU, "libvirt-qemu")
    assert set(supplementary_groups(user)) == {QEMU, KVM, 7}


@pytest.mark.usefixtures("debian")
def test_a_user_that_is_named_has_its_own_primary_group() -> None:
    assert emulator_user(QemuConfig(user="libvirt-qemu")).gid == KVM
    assert emulator_user(QemuConfig(group="libvirt-qemu")).gid == QEMU


def test_a_user_without_a_name_has_its_group_alone() -> None:
    assert supplementary_groups(User(4711, 4712, "")) == [4712]
