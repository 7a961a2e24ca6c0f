"""Iothreads of a definition: adding, removing, the sizes of their pools."""

from __future__ import annotations

import pytest

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.iothreads import add_iothread, remove_iothread, set_thread_pool
from conf.errors import ConfError


def guest(head: str = "<iothreads>2</iothreads>", devices: str = "") -> Domain:
    return parse_domain(
        f"<domain type='qemu'><name>web</name><memory>1</memory>{head}"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )


def test_an_added_iothread_has_all_of_them_listed() -> None:
    domain = guest()
    add_iothread(domain, 7)
    assert [thread.id for thread in domain.iothread_ids] == [1, 2, 7]
    assert "<iothreads>3</iothreads>" in format_domain(domain)
    with pytest.raises(ConfError, match="already using iothread_id '7'"):
        add_iothread(domain, 7)


def test_a_removed_iothread_takes_its_pin_and_scheduling_along() -> None:
    tune = (
        "<cputune><iothreadpin iothread='2' cpuset='1'/>"
        "<iothreadsched iothreads='2' scheduler='batch'/></cputune>"
    )
    domain = guest("<iothreads>2</iothreads>" + tune)
    remove_iothread(domain, 2)
    assert "<cputune>" not in format_domain(domain)
    assert "<iothreadids>" not in format_domain(domain)  # 1 goes without saying
    remove_iothread(domain, 1)
    assert "<iothreads>" not in format_domain(domain)


def test_removing_the_first_has_the_rest_listed() -> None:
    domain = guest()
    remove_iothread(domain, 1)
    assert [thread.id for thread in domain.iothread_list()] == [2]


@pytest.mark.parametrize(
    ("devices", "user"),
    [
        (
            "<disk type='file' device='disk'><driver name='qemu' iothread='1'/>"
            "<source file='/a'/><target dev='vda' bus='virtio'/></disk>",
            "disk 'vda'",
        ),
        (
            "<controller type='scsi' index='0' model='virtio-scsi'><driver iothread='1'/>"
            "</controller>",
            "controller",
        ),
    ],
)
def test_an_iothread_in_use_stays(devices: str, user: str) -> None:
    domain = guest(devices=devices)
    with pytest.raises(ConfError, match=f"being used by {user}"):
        remove_iothread(domain, 1)


def test_pool_sizes_are_checked_against_what_they_become() -> None:
    domain = guest()
    set_thread_pool(domain, 1, 2, 4, live=True)
    with pytest.raises(ConfError, match=r"thread_pool_min \(9\) can't be greater"):
        set_thread_pool(domain, 1, 9, None, live=True)
    with pytest.raises(ConfError, match="equal to or greater than 0 for live change"):
        set_thread_pool(domain, 1, -1, None, live=True)
    set_thread_pool(domain, 1, 9, -1, live=False)
    assert (domain.iothread_ids[0].thread_pool_min, domain.iothread_ids[0].thread_pool_max) == (
        9, None,
    )  # fmt: skip
    with pytest.raises(ConfError, match="cannot find IOThread '5'"):
        set_thread_pool(domain, 5, 1, 2, live=False)
