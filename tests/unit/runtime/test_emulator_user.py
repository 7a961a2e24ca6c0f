"""The user and the groups that QEMU runs with."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from conf.settings import QemuConfig
from rpc.errors import ErrorCode, VirError
from supervisor.runtime.emulator_user import (
    User,
    emulator_user,
    is_unnamed_default,
    supplementary_groups,
)

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


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """A host without the user libvirt-qemu, with the group kvm; and who has which number."""
    taken: dict[int, str] = {}

    def missing(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    def group_named(name: str) -> grp.struct_group:
        if name != "kvm":
            raise KeyError(name)
        return grp.struct_group(("kvm", "x", KVM, []))

    def user_of(number: int) -> pwd.struct_passwd:
        return pwd.struct_passwd((taken[number], "x", number, number, "", "/", "/bin/false"))

    def group_of(number: int) -> grp.struct_group:
        return grp.struct_group((taken[number], "x", number, []))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", missing)
    monkeypatch.setattr(grp, "getgrnam", group_named)
    monkeypatch.setattr(pwd, "getpwuid", user_of)
    monkeypatch.setattr(grp, "getgrgid", group_of)
    return taken


@pytest.mark.usefixtures("bare")
def test_without_libvirt_qemu_the_user_is_debians_number_for_it_and_never_root() -> None:
    user = emulator_user(QemuConfig())
    assert user == User(QEMU, QEMU, "")
    assert not user.is_own
    assert is_unnamed_default(user)
    assert supplementary_groups(user) == [QEMU, KVM]


def test_a_number_that_another_user_has_is_not_qemus(bare: dict[int, str]) -> None:
    bare[QEMU] = "backup"
    with pytest.raises(VirError, match=r"user 'backup'.*64055.*qemu\.conf") as refused:
        emulator_user(QemuConfig())
    assert refused.value.code is ErrorCode.CONFIG_UNSUPPORTED


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
