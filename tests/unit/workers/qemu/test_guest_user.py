"""Which user a guest's QEMU gets, and which one it has."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import cast

import pytest

from conf.domain import Domain, parse_domain
from conf.settings import QemuConfig
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.guest_user import guest_user, has_own_user

STATIC = "<seclabel type='static' model='dac' relabel='yes'><label>+7:+8</label></seclabel>"


def domain(seclabel: str = "") -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory><os><type arch='x86_64' "
        f"machine='pc'>hvm</type></os>{seclabel}</domain>"
    )


def context(*, dynamic: bool = True, session: bool = False) -> WorkerContext:
    config = QemuConfig(dynamic_users=dynamic, user="+5", group="+6")
    return cast("WorkerContext", SimpleNamespace(session=session, config=config))


@pytest.mark.parametrize(
    ("seclabel", "has"),
    [
        ("", True),
        ("<seclabel type='dynamic' model='dac'/>", True),
        ("<seclabel type='none'/>", True),  # of the first security driver, which there is not
        (STATIC, False),
        ("<seclabel type='none' model='dac'/>", False),
    ],
)
def test_a_guest_has_a_user_of_its_own_unless_its_label_says_otherwise(
    seclabel: str, *, has: bool
) -> None:
    assert has_own_user(context(), domain(seclabel)) is has
    assert not has_own_user(context(dynamic=False), domain(seclabel))
    assert not has_own_user(context(session=True), domain(seclabel))


def guest(recorded: list[int], seclabel: str = "") -> Guest:
    status = SimpleNamespace(user=recorded)
    fake = SimpleNamespace(status=status, context=context(), domain=domain(seclabel))
    return cast("Guest", fake)


def test_a_running_guest_keeps_the_user_of_its_start_whatever_qemu_conf_says() -> None:
    own = guest_user(guest([1_900_000_001, 1_900_000_001, 1]))
    assert (own.uid, own.gid, own.is_dynamic) == (1_900_000_001, 1_900_000_001, True)
    shared = guest_user(guest([64055, 64056, 0]))
    assert (shared.uid, shared.gid, shared.is_dynamic) == (64055, 64056, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is no root runs QEMU itself")
def test_a_guest_without_a_record_has_its_labels_user_or_qemu_confs() -> None:
    assert (guest_user(guest([])).uid, guest_user(guest([])).gid) == (5, 6)
    labelled = guest_user(guest([], STATIC))
    assert (labelled.uid, labelled.gid) == (7, 8)
